package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// signed is what is looked at of a metadata file to find the next.
type signed struct {
	Signed struct {
		Meta map[string]struct {
			Version int `json:"version"`
		} `json:"meta"`
		Targets map[string]struct {
			Hashes struct {
				SHA256 string `json:"sha256"`
			} `json:"hashes"`
		} `json:"targets"`
	} `json:"signed"`
}

// inline puts what is signed of a release of the repository in dir into a job: the device fetches payloads alone, from
// payload or from its own repository. The files are what they are, byte for byte.
func inline(dir, release, payload string) (json.RawMessage, error) {
	files := map[string][]byte{}
	read := func(name string, into any) error {
		raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return hinted(err, "holdfastctl release publish makes what a device reads")
		}
		files[name] = raw
		if into != nil {
			err = json.Unmarshal(raw, into)
		}
		return err
	}
	var stamp, snapshot signed
	if err := read("metadata/timestamp.json", &stamp); err != nil {
		return nil, err
	}
	if err := read(fmt.Sprintf("metadata/%d.snapshot.json", stamp.Signed.Meta["snapshot.json"].Version), &snapshot); err != nil {
		return nil, err
	}
	roles := []string{"targets"}
	if strings.HasPrefix(release, "content/") {
		roles = append(roles, "content")
	}
	sum := ""
	for _, role := range roles {
		if _, there := snapshot.Signed.Meta[role+".json"]; !there {
			continue
		}
		var targets signed
		if err := read(fmt.Sprintf("metadata/%d.%s.json", snapshot.Signed.Meta[role+".json"].Version, role), &targets); err != nil {
			return nil, err
		}
		if t, ok := targets.Signed.Targets[release+".json"]; ok {
			sum = t.Hashes.SHA256
		}
	}
	if sum == "" {
		return nil, hinted(fmt.Errorf("%s: no release %s", dir, release), "holdfastctl release list shows what there is")
	}
	if err := read(path.Join("targets", path.Dir(release), sum+"."+path.Base(release)+".json"), nil); err != nil {
		return nil, err
	}
	roots, err := filepath.Glob(filepath.Join(dir, "metadata", "*.root.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range roots { // the first is what a device was given
		if base := filepath.Base(name); base != "1.root.json" {
			if err := read("metadata/"+base, nil); err != nil {
				return nil, err
			}
		}
	}
	return packed(files, payload)
}

// packed writes the files into one text.
func packed(files map[string][]byte, payload string) (json.RawMessage, error) {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	b := strconv.AppendQuote([]byte(`{"payload":`), payload)
	b = append(b, `,"files":{`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		b = append(b, files[name]...)
	}
	b = append(b, "}}"...)
	text, err := json.Marshal(json.RawMessage(b))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !bytes.Contains(text, files[name]) {
			return nil, errors.New(name + " cannot be part of a job: it is not written as Go's encoder writes it, and its signature is over its bytes")
		}
	}
	return text, nil
}
