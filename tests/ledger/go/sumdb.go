// Lets tests ask Go's sumdb packages: one JSON request a line on stdin, one answer a line on stdout.
//
// Trees, proofs, tiles and plain signed notes are those of golang.org/x/mod. Where C2SP's formats differ from
// the checksum database's, this program translates: tile paths without the height, entries in bundles with
// their lengths, a log's own name in the first line of its tree head, and cosignatures with a time.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type request struct {
	Op      string   `json:"op"`
	Name    string   `json:"name"`
	Key     string   `json:"key"`
	Keys    []string `json:"keys"`
	Note    []byte   `json:"note"`
	Text    []byte   `json:"text"`
	Folder  string   `json:"folder"`
	Origin  string   `json:"origin"`
	Entries [][]byte `json:"entries"`
	Olds    []int64  `json:"olds"`
	Proof   [][]byte `json:"proof"`
	Size    int64    `json:"size"`
	Root    []byte   `json:"root"`
	Index   int64    `json:"index"`
	Leaf    []byte   `json:"leaf"`
	Old     int64    `json:"old"`
	OldRoot []byte   `json:"old_root"`
	Step    int64    `json:"step"`
}

type answer map[string]interface{}

func main() {
	operations := map[string]func(request) (answer, error){
		"generate": generate, "sign": sign, "open": open, "write": write, "read": read,
		"inclusion": inclusion, "consistency": consistency, "cosign": cosign,
	}
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		said, err := operations[asked.Op](asked)
		if err != nil {
			said = answer{"refused": err.Error()}
		}
		if err := answers.Encode(said); err != nil {
			panic(err)
		}
	}
}

// --- notes ---------------------------------------------------------------------------------------------

func generate(asked request) (answer, error) {
	private, public, err := note.GenerateKey(rand.Reader, asked.Name)
	return answer{"private": private, "public": public}, err
}

func sign(asked request) (answer, error) {
	signer, err := note.NewSigner(asked.Key)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: string(asked.Text)}, signer)
	return answer{"note": signed}, err
}

func open(asked request) (answer, error) {
	opened, err := opened(asked.Note, asked.Keys)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, one := range opened.Sigs {
		names = append(names, one.Name)
	}
	return answer{"text": []byte(opened.Text), "signed": names}, nil
}

func opened(signed []byte, keys []string) (*note.Note, error) {
	var known []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			verifier, err = newCosigner(key)
		}
		if err != nil {
			return nil, err
		}
		known = append(known, verifier)
	}
	return note.Open(signed, note.VerifierList(known...))
}

// cosigner verifies C2SP's cosignature/v1, a key of type 4 whose signatures say when they were made.
type cosigner struct {
	name string
	key  []byte
}

func newCosigner(line string) (note.Verifier, error) {
	parts := strings.SplitN(line, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("not a key of type 4")
	}
	one := cosigner{parts[0], key}
	if fmt.Sprintf("%08x", one.KeyHash()) != parts[1] {
		return nil, errors.New("the key has another hash")
	}
	return one, nil
}

func (one cosigner) Name() string { return one.name }

func (one cosigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(one.name+"\n"), one.key...))
	return binary.BigEndian.Uint32(sum[:])
}

func (one cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	said := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(one.key[1:], []byte(said), signature[8:])
}

// cosign signs the text of a tree head as a witness does, with the key of a seed.
func cosign(asked request) (answer, error) {
	private := ed25519.NewKeyFromSeed(asked.Leaf)
	one := cosigner{asked.Name, append([]byte{4}, private.Public().(ed25519.PublicKey)...)}
	said := fmt.Sprintf("cosignature/v1\ntime %d\n%s", asked.Index, asked.Text)
	value := make([]byte, 12)
	binary.BigEndian.PutUint32(value, one.KeyHash())
	binary.BigEndian.PutUint64(value[4:], uint64(asked.Index))
	value = append(value, ed25519.Sign(private, []byte(said))...)
	encoded := base64.StdEncoding.EncodeToString(value)
	key := fmt.Sprintf("%s+%08x+%s", one.name, one.KeyHash(), base64.StdEncoding.EncodeToString(one.key))
	return answer{"line": fmt.Sprintf("\u2014 %s %s\n", one.name, encoded), "public": key}, nil
}

// --- proofs --------------------------------------------------------------------------------------------

func inclusion(asked request) (answer, error) {
	var root, leaf tlog.Hash
	copy(root[:], asked.Root)
	copy(leaf[:], asked.Leaf)
	return answer{}, tlog.CheckRecord(hashes(asked.Proof), asked.Size, root, asked.Index, leaf)
}

func consistency(asked request) (answer, error) {
	var root, oldRoot tlog.Hash
	copy(root[:], asked.Root)
	copy(oldRoot[:], asked.OldRoot)
	return answer{}, tlog.CheckTree(hashes(asked.Proof), asked.Size, root, asked.Old, oldRoot)
}

func hashes(given [][]byte) []tlog.Hash {
	found := []tlog.Hash{}
	for _, one := range given {
		var hash tlog.Hash
		copy(hash[:], one)
		found = append(found, hash)
	}
	return found
}

func plain(given []tlog.Hash) [][]byte {
	found := [][]byte{}
	for _, one := range given {
		found = append(found, append([]byte{}, one[:]...))
	}
	return found
}

// --- logs in a folder ------------------------------------------------------------------------------------

type stored []tlog.Hash

func (kept stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for at, index := range indexes {
		if index >= int64(len(kept)) {
			return nil, errors.New("there is no such hash")
		}
		found[at] = kept[index]
	}
	return found, nil
}

// write makes a log of the entries, with proofs of each entry and from each of the old sizes.
func write(asked request) (answer, error) {
	var kept stored
	for at, entry := range asked.Entries {
		more, err := tlog.StoredHashes(int64(at), entry, kept)
		if err != nil {
			return nil, err
		}
		kept = append(kept, more...)
	}
	size := int64(len(asked.Entries))
	root, err := tlog.TreeHash(size, kept)
	if err != nil {
		return nil, err
	}
	for _, tile := range published(size) {
		data, err := tlog.ReadTileData(tile, kept)
		if err != nil {
			return nil, err
		}
		if err := save(asked.Folder, placed(tile), data); err != nil {
			return nil, err
		}
		if tile.L == 0 {
			tile.L = -1
			if err := save(asked.Folder, placed(tile), bundle(asked.Entries, tile)); err != nil {
				return nil, err
			}
		}
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", asked.Origin, size, root)
	signed, err := sign(request{Key: asked.Key, Text: []byte(text)})
	if err != nil {
		return nil, err
	}
	if err := save(asked.Folder, "checkpoint", signed["note"].([]byte)); err != nil {
		return nil, err
	}
	return proofs(asked, size, root, kept)
}

func proofs(asked request, size int64, root tlog.Hash, kept stored) (answer, error) {
	included, consistent, roots := [][][]byte{}, [][][]byte{}, [][]byte{}
	for index := int64(0); index < size; index++ {
		proof, err := tlog.ProveRecord(size, index, kept)
		if err != nil {
			return nil, err
		}
		included = append(included, plain(proof))
	}
	for _, old := range asked.Olds {
		proof, err := tlog.ProveTree(size, old, kept)
		if err != nil {
			return nil, err
		}
		oldRoot, err := tlog.TreeHash(old, kept)
		if err != nil {
			return nil, err
		}
		consistent, roots = append(consistent, plain(proof)), append(roots, oldRoot[:])
	}
	return answer{"root": root[:], "included": included, "consistent": consistent, "old_roots": roots}, nil
}

// read opens a log, reads each of its entries and checks a proof of every Step-th, made from its tiles.
func read(asked request) (answer, error) {
	signed, err := os.ReadFile(filepath.Join(asked.Folder, "checkpoint"))
	if err != nil {
		return nil, err
	}
	head, err := opened(signed, asked.Keys)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(head.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return nil, err
	}
	tree := tlog.Tree{N: size, Hash: root}
	reader := tlog.TileHashReader(tree, tiles(asked.Folder))
	entries, err := entriesOf(asked.Folder, size)
	if err != nil {
		return nil, err
	}
	for index := int64(0); index < size; index += asked.Step {
		if err := check(tree, reader, index, entries[index]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return answer{"origin": lines[0], "size": size, "root": root[:], "entries": entries}, nil
}

// check holds one entry against the tree, and the tree up to it.
func check(tree tlog.Tree, reader tlog.HashReader, index int64, entry []byte) error {
	proof, err := tlog.ProveRecord(tree.N, index, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	old, err := tlog.TreeHash(index+1, reader)
	if err != nil {
		return err
	}
	grown, err := tlog.ProveTree(tree.N, index+1, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(grown, tree.N, tree.Hash, index+1, old)
}

type tiles string

func (folder tiles) Height() int { return height }

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(wanted))
	for at, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(string(folder), placed(tile)))
		if err != nil {
			return nil, err
		}
		found[at] = data
	}
	return found, nil
}

// placed is where C2SP tlog-tiles puts a tile, or, at level -1, a bundle of entries.
func placed(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// published is the widest tile of each place: some versions of NewTiles list each narrower one as well.
func published(size int64) []tlog.Tile {
	widest := []tlog.Tile{}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		last := len(widest) - 1
		if last >= 0 && widest[last].L == tile.L && widest[last].N == tile.N {
			widest[last] = tile
		} else {
			widest = append(widest, tile)
		}
	}
	return widest
}

func bundle(entries [][]byte, tile tlog.Tile) []byte {
	var data []byte
	first := tile.N << height
	for _, entry := range entries[first : first+int64(tile.W)] {
		data = append(data, byte(len(entry)>>8), byte(len(entry)))
		data = append(data, entry...)
	}
	return data
}

func entriesOf(folder string, size int64) ([][]byte, error) {
	entries := [][]byte{}
	for _, tile := range published(size) {
		if tile.L != 0 {
			continue
		}
		tile.L = -1
		data, err := os.ReadFile(filepath.Join(folder, placed(tile)))
		if err != nil {
			return nil, err
		}
		for len(data) > 1 {
			end := 2 + int(binary.BigEndian.Uint16(data))
			if end > len(data) {
				return nil, errors.New("a bundle of entries is cut off")
			}
			entries, data = append(entries, data[2:end]), data[end:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("there are %d entries, not %d", len(entries), size)
	}
	return entries, nil
}

func save(folder, path string, data []byte) error {
	place := filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	return os.WriteFile(place, data, 0o644)
}
