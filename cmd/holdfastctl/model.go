package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

func newModel(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Train and examine models that name faults",
		Long: `model makes forests of decision trees from recorded measures in which each row has a label, and shows what they are worth on
others. Data is CSV with a line of names. The columns dev, t, label, fault_no, rep and since say where a row comes from and are
never features; all others are measures. A row counts once the window before it is full, from 4 s into a fault on, and from 9 s
after one on. A file that ends in .gz is decompressed.`,
		Example: `  holdfastctl model train --data a.csv --data b.csv --label label --group dev --window 8 --seed 1 --out m.hfm
  holdfastctl model eval --model m.hfm --data c.csv --label label
  holdfastctl model explain --model m.hfm --data c.csv --at 27
  holdfastctl model info m.hfm`,
	}
	cmd.AddCommand(newModelRecord(c), newModelTrain(c), newModelImport(c), newModelEval(c), newModelExplain(c), newModelInfo(c))
	return cmd
}

// readTables reads the files of --data.
func readTables(files []string, label, group string) ([]*train.Table, error) {
	if len(files) == 0 {
		return nil, usage("--data: wants at least one file")
	}
	var tables []*train.Table
	for _, name := range files {
		t, err := readTable(name, label, group)
		if err != nil {
			return nil, hinted(err, "a recording is CSV: a line of names, and numbers or nothing in each column of a measure (docs/models.md)")
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// readTable reads one file, which may be compressed by gzip.
func readTable(name, label, group string) (*train.Table, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return train.ReadTable(in, name, label, group)
}

// readModel reads a model, and has it prove its golden rows.
func readModel(name string) (*forest.Model, error) {
	if name == "" {
		return nil, usage("--model: wants a file")
	}
	b, err := readBounded(name, forest.MaxBytes)
	if err != nil {
		return nil, err
	}
	m, err := forest.Read(b)
	if err == nil {
		err = m.Verify()
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("%s: %w", name, err), "holdfastctl model train makes one, model import takes one from scikit-learn")
	}
	return m, nil
}

// readBounded reads a file of at most so many bytes, and one more, by which whoever reads on sees that it is larger.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// writeWhole writes a file that is there as a whole or not at all.
func writeWhole(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".holdfast-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

func newModelInfo(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "info FILE", Short: "Show what a model is", Args: cobra.ExactArgs(1),
		Long:    "info reads a model as a device would, evaluates its golden rows, and shows what it takes of the bounds.",
		Example: "  holdfastctl model info m.hfm\n  holdfastctl model info m.hfm --json",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			m, err := readModel(args[0])
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), infoJSON(m))
			}
			return showInfo(cmd.OutOrStdout(), m)
		}),
	}
}

func infoJSON(m *forest.Model) map[string]any {
	s := m.Size()
	features := make([]string, len(m.Features))
	for i := range features {
		features[i] = m.Name(i)
	}
	return map[string]any{"id": m.ID(), "bytes": s.Bytes, "trees": s.Trees, "nodes": s.Nodes, "visits": s.Visits, "golden_rows": s.Golden,
		"classes": m.Classes, "normal": m.Classes[m.Normal], "metrics": m.Metrics, "features": features, "window": m.Window,
		"step_ms": m.Step.Milliseconds(), "temperature": m.Temperature, "least_confidence": m.Sure, "margin": m.Margin}
}

func showInfo(out io.Writer, m *forest.Model) error {
	s := m.Size()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "id\t%s\n", m.ID())
	fmt.Fprintf(w, "size\t%d bytes of %d\n", s.Bytes, forest.MaxBytes)
	fmt.Fprintf(w, "trees\t%d, %d nodes, %d comparisons of %d\n", s.Trees, s.Nodes, s.Visits, forest.MaxVisits)
	fmt.Fprintf(w, "window\t%d rows of %s\n", m.Window, m.Step)
	fmt.Fprintf(w, "features\t%d of %d metrics\n", len(m.Features), len(m.Metrics))
	faults := slices.DeleteFunc(slices.Clone(m.Classes), func(c string) bool { return c == m.Classes[m.Normal] })
	fmt.Fprintf(w, "normal\t%s\n", m.Classes[m.Normal])
	fmt.Fprintf(w, "faults\t%s\n", strings.Join(faults, " "))
	fmt.Fprintf(w, "confidence\tat temperature %.3g; below %.2g the verdict is unsure\n", m.Temperature, m.Sure)
	fmt.Fprintf(w, "range\tup to %.3g times its width outside is believed\n", m.Margin)
	fmt.Fprintf(w, "golden rows\t%d, all as their maker had them\n", s.Golden)
	return w.Flush()
}
