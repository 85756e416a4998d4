package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/foreign"
	"holdfast/remediate/forest/train"
)

func newModelTrain(c *connection) *cobra.Command {
	var data, metrics []string
	var label, group, normal, out string
	var window int
	var o train.Options
	cmd := &cobra.Command{
		Use: "train", Short: "Train a model on labelled rows", Args: cobra.NoArgs,
		Long: `train grows a forest. Before, it holds out each part of the data in turn, by the column --group or by event, and never single rows:
neighbours are nearly equal, and a forest that has seen the one knows the other. What it does on the parts it has not seen is
printed, and makes the confidences honest.

A class that cannot be told from normal there would teach the forest that normal is a fault: it is named, and there is no model.
The same data and seed make the same bytes.`,
		Example: `  holdfastctl model train --data a.csv --data b.csv --label label --group dev --window 8 --seed 1 --out m.hfm
  holdfastctl model train --data a.csv --label label --group event --out m.hfm`,
	}
	f := cmd.Flags()
	f.StringArrayVar(&data, "data", nil, "`FILE` of CSV; may come more than once")
	f.StringSliceVar(&metrics, "metrics", nil, "comma-separated `COLUMNS` that are measures, in the model's order (default all)")
	f.StringVar(&label, "label", "label", "the `COLUMN` that says what a row is")
	f.StringVar(&group, "group", train.ByEvent, "the `COLUMN` by which parts are held out, such as dev; event: by event")
	f.StringVar(&normal, "normal", "normal", "the `LABEL` of rows without a fault")
	f.IntVar(&window, "window", 8, "rows of which features are computed")
	f.Uint64Var(&o.Seed, "seed", 1, "where chance begins")
	f.IntVar(&o.Trees, "trees", 40, "trees, 1 to 400")
	f.IntVar(&o.Depth, "depth", 10, "comparisons in a tree, 1 to 30; less where 400 in all trees are too few")
	f.StringVar(&out, "out", "", "`FILE` that the model is written to")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		if out == "" {
			return usage("--out: wants a file")
		}
		if o.Trees < 1 || o.Trees > forest.MaxVisits || o.Depth < 1 || o.Depth > 30 {
			return usage("--trees %d --depth %d: wants 1 to %d and 1 to 30", o.Trees, o.Depth, forest.MaxVisits)
		}
		column := group
		if group == train.ByEvent {
			column = ""
		}
		tables, err := readTables(data, label, column)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if len(metrics) == 0 {
				break
			}
			if err := t.Arrange(metrics); err != nil {
				return err
			}
		}
		set, err := train.NewSet(tables, window, nil, normal)
		if err != nil {
			return hinted(err, "--normal LABEL says which rows are no fault, --window how many rows there have to be before one counts")
		}
		if len(set.Classes) < 2 {
			return hinted(fmt.Errorf("train: all rows are %s: wants a fault as well", normal), "record with a fault injected, and say so in the column "+label)
		}
		r, err := train.Train(set, group, o)
		switch {
		case errors.Is(err, train.ErrAlike):
			return hinted(fmt.Errorf("train: %w", err), fmt.Sprintf("a class whose rows, held out, look more like it than rows of %s do less than %.2f of the time "+
				"teaches that %s is a fault: leave its rows out, label them %s, or measure what shows it", normal, train.Told, normal, normal))
		case err != nil && group != train.ByEvent:
			return hinted(fmt.Errorf("train: %w", err), "--group event holds out events")
		case err != nil:
			return fmt.Errorf("train: %w", err)
		}
		m, err := forest.Read(r.Bytes)
		if err == nil {
			err = writeWhole(out, r.Bytes)
		}
		if err != nil {
			return err
		}
		if c.json {
			return printJSON(cmd.OutOrStdout(), trainedJSON(m, r, group))
		}
		return showTrained(cmd.OutOrStdout(), m, r, group)
	})
	return cmd
}

func trainedJSON(m *forest.Model, r *train.Result, group string) map[string]any {
	folds := []map[string]any{}
	for _, f := range r.Folds {
		folds = append(folds, map[string]any{"held_out": f.Name, "rows": f.Rows, "macro_f1": f.MacroF1})
	}
	v := infoJSON(m)
	maps.Copy(v, map[string]any{"group": group, "rows": r.Samples, "folds": folds, "told_from_normal": r.Told, "depth": r.Depth})
	return v
}

func showTrained(out io.Writer, m *forest.Model, r *train.Result, group string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "HELD OUT\tROWS\tMACRO-F1\t\n")
	for _, f := range r.Folds {
		fmt.Fprintf(w, "%s %s\t%d\t%.3f\t\n", group, f.Name, f.Rows, f.MacroF1)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	name := slices.MinFunc(slices.Sorted(maps.Keys(r.Told)), func(a, b string) int {
		return int(1e6 * (r.Told[a] - r.Told[b]))
	})
	fmt.Fprintf(out, "Nearest to %s is %s, told from it %.2f of the time (at least %.2f).\n\n", m.Classes[m.Normal], name, r.Told[name], train.Told)
	return showInfo(out, m)
}

func newModelImport(c *connection) *cobra.Command {
	var data []string
	var label, normal, out, names, rows, shares string
	var window int
	var step time.Duration
	var temperature float64
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make a model of a forest that scikit-learn trained", Args: cobra.ExactArgs(1),
		Long: `import reads a forest from JSON as docs/export-sklearn.py writes it, or the TreeEnsembleClassifier of an ONNX file (.onnx). Features are
named as ours: a column, and _mean, _std or _slope. ONNX does not name them: --features has a line of their names.

What devices prove the model by are golden rows: --golden has rows of features and --proba what predict_proba says of them, or they
are taken from --data, which also says what values are usual. Without it no value is out of range.`,
		Example: `  holdfastctl model import rf.json --data a.csv --label label --out m.hfm
  holdfastctl model import rf.onnx --features rows.csv --golden rows.csv --proba proba.csv --out m.hfm`,
	}
	f := cmd.Flags()
	f.StringArrayVar(&data, "data", nil, "`FILE` of CSV; may come more than once")
	f.StringVar(&label, "label", "label", "the `COLUMN` that says what a row is")
	f.StringVar(&normal, "normal", "normal", "the class that is no fault")
	f.StringVar(&names, "features", "", "`FILE` whose first line names the features of ONNX")
	f.StringVar(&rows, "golden", "", "`FILE` of rows of features, with their names")
	f.StringVar(&shares, "proba", "", "`FILE` of their probabilities, with the classes' names")
	f.IntVar(&window, "window", 8, "rows of which features are computed")
	f.DurationVar(&step, "step", time.Second, "time between two rows, where --data does not say")
	f.Float64Var(&temperature, "temperature", 1, "by which probabilities are scaled, 0.05 to 20")
	f.StringVar(&out, "out", "", "`FILE` that the model is written to")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		if out == "" {
			return usage("--out: wants a file")
		}
		if len(data) == 0 && (rows == "" || shares == "") {
			return usage("--golden FILE and --proba FILE, or --data FILE: what shall devices prove the model by?")
		}
		in, err := readForeign(args[0], names)
		if err != nil {
			return err
		}
		d, err := in.Draft(normal)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		d.Window, d.Step, d.Temperature, d.Sure, d.Margin = window, step, float32(temperature), 0.5, 1
		if len(data) > 0 {
			tables, err := readTables(data, label, "")
			if err == nil {
				err = train.Adopt(d, tables)
			}
			if err != nil {
				return err
			}
		}
		if rows != "" {
			if err := takeGolden(d, in, rows, shares); err != nil {
				return err
			}
		}
		b, err := d.Encode()
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		m, err := forest.Read(b)
		if err == nil {
			err = writeWhole(out, b)
		}
		if err != nil {
			return err
		}
		if c.json {
			return printJSON(cmd.OutOrStdout(), infoJSON(m))
		}
		return showInfo(cmd.OutOrStdout(), m)
	})
	return cmd
}

func readForeign(name, names string) (*foreign.Forest, error) {
	onnx := strings.HasSuffix(name, ".onnx")
	if onnx && names == "" {
		return nil, usage("--features FILE: ONNX does not say how its features are named")
	}
	b, err := readBounded(name, foreign.MaxBytes)
	if err != nil {
		return nil, err
	}
	if onnx {
		head, _, err := numbers(names, 0)
		if err != nil {
			return nil, err
		}
		in, err := foreign.ONNX(b, head)
		if err != nil {
			return nil, hinted(fmt.Errorf("%s: %w", name, err), "skl2onnx writes what import reads, of a RandomForestClassifier whose classes have names, with raw_scores off")
		}
		return in, nil
	}
	in, err := foreign.JSON(b)
	if err != nil {
		return nil, hinted(fmt.Errorf("%s: %w", name, err), "docs/export-sklearn.py writes what import reads; ONNX ends in .onnx")
	}
	return in, nil
}

// numbers reads CSV: a line of names, and at most so many rows of numbers.
func numbers(name string, most int) (names []string, rows [][]float64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := csv.NewReader(io.LimitReader(f, foreign.MaxBytes))
	if names, err = r.Read(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	for len(rows) < most {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		row := make([]float64, len(record))
		for i, text := range record {
			if row[i], err = strconv.ParseFloat(text, 64); err != nil {
				return nil, nil, fmt.Errorf("%s: row %d: %w", name, len(rows)+1, err)
			}
		}
		rows = append(rows, row)
	}
	return names, rows, nil
}

// takeGolden replaces a draft's golden rows with those of scikit-learn, as many as a model may have.
func takeGolden(d *forest.Draft, in *foreign.Forest, rowsFile, sharesFile string) error {
	names, rows, err := numbers(rowsFile, forest.MaxGolden)
	if err != nil {
		return err
	}
	classes, shares, err := numbers(sharesFile, forest.MaxGolden)
	switch {
	case err != nil:
		return err
	case !slices.Equal(names, in.Features):
		return fmt.Errorf("%s: its columns are not the features of the forest, in the same order", rowsFile)
	case !slices.Equal(classes, in.Classes):
		return fmt.Errorf("%s: its columns are not the classes of the forest, in the same order", sharesFile)
	case len(rows) != len(shares):
		return fmt.Errorf("%s has %d rows, %s %d", rowsFile, len(rows), sharesFile, len(shares))
	}
	d.Golden = nil
	for i, row := range rows {
		g := forest.Golden{Shares: shares[i]}
		for _, x := range row {
			g.Row = append(g.Row, float32(x))
		}
		d.Golden = append(d.Golden, g)
	}
	return nil
}
