"""The report's one style sheet: light and dark, screen and paper, no font or image from elsewhere."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--bg:#f6f6f3;--card:#fff;--ink:#1c1e22;--soft:#5d636c;--line:#e2e2dc;
--sunk:#f3f3ef;--held:#0b7a3e;--held-bg:#e5f4ea;--broken:#b42318;--broken-bg:#fdecea;--incomplete:#8a5a00;--incomplete-bg:#fdf3dc;
--unfinished:#35558a;--unfinished-bg:#e8eef8;--add:#e6f4ea;--add-ink:#0d5f31;--del:#fdeceb;--del-ink:#97180f;
--c0:#2a78d6;--c1:#d95f26;--c2:#129a6f;--c3:#b98300;--c4:#c9568a;--c5:#4a3aa7;--c6:#5b7a12;--c7:#6b5f55;
--data:#e0a100;--forward:#2a78d6;--backward:#5646b3;--optimizer:#19a37a;--other:#a3a39c}
@media screen and (prefers-color-scheme:dark){:root{--bg:#121417;--card:#1a1d21;--ink:#e9e7e2;--soft:#a2a7af;
--line:#2f3338;--sunk:#14171a;--held:#62d493;--held-bg:#12301f;--broken:#ff8a7f;--broken-bg:#3a1512;
--incomplete:#f0bd5c;--incomplete-bg:#33260a;--unfinished:#9dbdf2;--unfinished-bg:#182540;--add:#12301f;
--add-ink:#8fe0b0;--del:#3a1512;--del-ink:#ffb0a8;--c0:#4b95ea;--c1:#ee8350;--c2:#2fb98b;--c3:#d6a02a;--c4:#e07fae;
--c5:#a094f2;--c6:#9dbb4f;--c7:#a5998d;--data:#d09a1c;--forward:#4b95ea;--backward:#8f83e6;--optimizer:#25a880;
--other:#6d6d68}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif}
main,header>div,footer{max-width:1040px;margin:0 auto;padding:0 24px}
header{background:var(--card);border-bottom:1px solid var(--line);border-top:6px solid var(--tone);
padding:28px 0 24px}
header.held,.tile.held{--tone:var(--held);--tint:var(--held-bg)}
header.broken,header.refused,.tile.broken{--tone:var(--broken);--tint:var(--broken-bg)}
header.incomplete,.tile.incomplete{--tone:var(--incomplete);--tint:var(--incomplete-bg)}
header.unfinished{--tone:var(--unfinished);--tint:var(--unfinished-bg)}
.brand{display:flex;justify-content:space-between;gap:16px;color:var(--soft);font-size:14px}
.brand b{color:var(--ink);letter-spacing:.02em}
h1{display:flex;flex-wrap:wrap;align-items:center;gap:14px;margin:20px 0 10px;font-size:30px;line-height:1.2;
letter-spacing:-.01em}
h1 .word{background:var(--tint);color:var(--tone);border-radius:9px;padding:4px 16px 6px}
h1 code{font-size:21px;font-weight:500;background:none;padding:0}
.lead{font-size:19px;line-height:1.5;margin:0 0 8px;max-width:62em}
.card>h3:first-child{margin-top:0}
.note{color:var(--soft);font-size:14px;margin:6px 0}
section{margin:0 0 40px}
main{padding-top:28px}
h2{font-size:20px;margin:0 0 12px;letter-spacing:-.005em}
h2 small{font-weight:400;color:var(--soft);font-size:15px;margin-left:10px}
h3{font-size:15px;margin:22px 0 4px}
h4{font-size:15px;margin:16px 0 6px;font-weight:600}
h3 small{font-weight:400;color:var(--soft);margin-left:8px}
code,pre{font-family:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.86em;unicode-bidi:isolate}
code{background:var(--sunk);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:0 0 36px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:14px 18px}
.tile b{display:block;font-size:25px;line-height:1.25;font-variant-numeric:tabular-nums;
color:var(--tone,var(--ink))}
.tile span{color:var(--soft);font-size:14px}
.card{padding:20px 22px;margin:0 0 16px;overflow-wrap:anywhere}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:5px 18px;margin:16px 0 0;font-size:15px}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}
ul.plain{margin:6px 0;padding-left:20px}
.chart{overflow-x:auto}
svg{display:block;width:100%;min-width:620px;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--soft);font-variant-numeric:tabular-nums}svg .mid{text-anchor:middle}
svg .end{text-anchor:end}
svg .grid{stroke:var(--line);fill:none}svg .axis{stroke:var(--soft);fill:none;opacity:.6}
svg .line{fill:none;stroke:var(--col);stroke-width:1.7;stroke-linejoin:round}svg .dot{fill:var(--col)}
.r0,.lr{--col:var(--c0)}.r1{--col:var(--c1)}.r2{--col:var(--c2)}.r3{--col:var(--c3)}.r4{--col:var(--c4)}
.r5{--col:var(--c5)}.r6{--col:var(--c6)}.r7{--col:var(--c7)}.mean{--col:var(--soft)}
svg .band{fill:var(--soft);opacity:.18}
svg .lost{stroke:var(--broken);fill:none;stroke-width:1.4}svg .lostword{fill:var(--broken)}
svg .flag path{stroke:var(--tone);stroke-width:1.5;stroke-dasharray:4 3;fill:none}
svg .flag rect{fill:var(--tone)}
svg .flag text{fill:var(--card);font-weight:700}svg .target{fill:transparent}svg .cut{fill:var(--broken)}
.error{--tone:var(--broken);--tint:var(--broken-bg)}.warning{--tone:var(--incomplete);--tint:var(--incomplete-bg)}
.note-level,svg .flag.note{--tone:var(--unfinished);--tint:var(--unfinished-bg)}
.p-data{fill:var(--data);background:var(--data)}.p-forward{fill:var(--forward);background:var(--forward)}
.p-backward{fill:var(--backward);background:var(--backward)}
.p-optimizer{fill:var(--optimizer);background:var(--optimizer)}.p-other{fill:var(--other);background:var(--other)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:6px 0 0 60px;color:var(--soft);font-size:13px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.legend .key{background:var(--col)}
.finding{border-left:5px solid var(--tone)}
.finding h3{margin:0 0 8px;font-size:18px;display:flex;flex-wrap:wrap;align-items:center;gap:10px}
.finding h3 .at{font-weight:400;color:var(--soft);font-size:15px}
.finding p{margin:0 0 10px}
.badge{background:var(--tint,var(--sunk));color:var(--tone,var(--soft));border-radius:99px;padding:2px 11px;
font-size:13px;font-weight:600;white-space:nowrap}
.num{background:var(--tone);color:var(--card);border-radius:99px;min-width:24px;height:24px;padding:0 7px;
font-size:13px;line-height:24px;text-align:center}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:10px;margin:6px 0 10px}
.pair div{background:var(--sunk);border-radius:8px;padding:8px 13px;font-variant-numeric:tabular-nums}
.pair span{display:block;color:var(--soft);font-size:13px}.pair .seen{box-shadow:inset 3px 0 0 var(--tone)}
.pair b{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:15px;font-weight:600}
.times{color:var(--soft);font-size:14px}
pre{margin:8px 0 4px;padding:11px 0;background:var(--sunk);border-radius:8px;line-height:1.5;overflow-x:auto}
pre span{display:block;padding:0 14px;white-space:pre-wrap;min-height:1.5em;unicode-bidi:isolate}
pre .add{background:var(--add);color:var(--add-ink)}pre .del{background:var(--del);color:var(--del-ink)}
pre .hunk{color:var(--soft)}
.law{display:grid;grid-template-columns:170px 1fr 262px;gap:4px 18px;
align-items:center;padding:10px 0;border-top:1px solid var(--line)}
.law:first-child{border-top:0;padding-top:0}.law:last-child{padding-bottom:0}
.law ul{grid-column:2/-1;margin:0;padding-left:18px;color:var(--soft);font-size:14px}
.law .amount{font-size:14px;font-variant-numeric:tabular-nums;text-align:right}
progress{appearance:none;width:100%;height:10px;border:0;border-radius:99px;overflow:hidden;background:var(--line)}
progress::-webkit-progress-bar{background:var(--line)}
progress::-webkit-progress-value{background:var(--fill)}progress::-moz-progress-bar{background:var(--fill)}
.full{--fill:var(--held)}.part{--fill:var(--c3)}.none{--fill:var(--line)}
table{border-collapse:collapse;width:100%;font-size:14px}
th{color:var(--soft);font-weight:500;text-align:left}tr>th{white-space:nowrap}
th,td{padding:6px 14px 6px 0;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:first-child>th{border-top:0}td{unicode-bidi:isolate}td.n{text-align:right;font-variant-numeric:tabular-nums}
tr.odd td{color:var(--broken)}
details{border-top:1px solid var(--line);padding:9px 0}details:first-child{border-top:0}
summary{cursor:pointer;font-weight:500}summary small{color:var(--soft);font-weight:400;margin-left:8px}
footer{color:var(--soft);font-size:14px;padding-bottom:48px}
a{color:var(--c0)}:target{outline:2px solid var(--c0);outline-offset:3px}
@media (max-width:640px){.pair,.law{grid-template-columns:1fr}.law .amount{text-align:left}
.law ul{grid-column:1}
dl.facts{grid-template-columns:1fr;gap:0}dl.facts dd{margin-bottom:8px}}
@media print{body{background:#fff;font-size:11pt}main,header>div,footer{max-width:none;padding:0}
.card,.tile,.law,tr{break-inside:avoid}h2,h3{break-after:avoid}section{margin-bottom:24px}svg{min-width:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}pre{overflow:visible}
details::details-content{content-visibility:visible;height:auto}}
"""
