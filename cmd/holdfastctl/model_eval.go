package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/scorepage"
	"holdfast/remediate/forest"
	"holdfast/remediate/forest/train"
)

func newModelEval(c *connection) *cobra.Command {
	var data []string
	var model, label, page, pictures string
	cmd := &cobra.Command{
		Use: "eval", Short: "See what a model is worth on labelled rows", Args: cobra.NoArgs,
		Long: `eval has a model judge rows that it was not trained on. F1 is of the class that has most votes, also where the verdict would be
unsure; macro-F1 is the mean over classes. An event is called what most of its rows are called. A false episode is three verdicts in
a row that name one fault at a confidence of 0.7 or more while there was none: what a repair would have been made for.`,
		Example: `  holdfastctl model eval --model m.hfm --data c.csv --label label
  holdfastctl model eval --model m.hfm --data c.csv --label label --json
  holdfastctl model eval --model m.hfm --data c.csv --label label --html c.html --svg .`,
	}
	f := cmd.Flags()
	f.StringVar(&model, "model", "", "`FILE` of the model")
	f.StringArrayVar(&data, "data", nil, "`FILE` of CSV; may come more than once")
	f.StringVar(&label, "label", "label", "the `COLUMN` that says what a row is")
	f.StringVar(&page, "html", "", "`FILE` that a page with plots is written to")
	f.StringVar(&pictures, "svg", "", "`DIR` that the plots are written to, as confusion.svg and calibration.svg")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		m, err := readModel(model)
		if err != nil {
			return err
		}
		tables, err := readTables(data, label, "")
		if err != nil {
			return err
		}
		s, err := train.Evaluate(m, tables)
		if err != nil {
			return err
		}
		if page != "" {
			var b bytes.Buffer
			scorepage.Write(&b, s, strings.Join(data, ", "))
			if err := writeWhole(page, b.Bytes()); err != nil {
				return err
			}
		}
		if pictures != "" {
			for name, b := range scorepage.Pictures(s) {
				if err := writeWhole(filepath.Join(pictures, name), b); err != nil {
					return err
				}
			}
		}
		if c.json {
			return printJSON(cmd.OutOrStdout(), s)
		}
		return showScore(cmd.OutOrStdout(), s)
	})
	return cmd
}

func showScore(out io.Writer, s *train.Score) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "macro-F1\t%.3f by row, %.3f by event\n", s.MacroF1, s.EventMacroF1)
	fmt.Fprintf(w, "rows\t%d, %.1f %% right; %d unsure, %d out of range, %d with a value missing\n", s.Rows, 100*s.Accuracy, s.Unsure, s.OutOfRange, s.Missing)
	fmt.Fprintf(w, "events\t%d of %d right\n", s.EventsRight, s.Events)
	fmt.Fprintf(w, "false episodes\t%d in %.4f device-days without a fault, %.1f a day; %d of another fault\n", s.FalseEpisodes, s.NormalDays, s.FalsePerDay, s.WrongEpisodes)
	fmt.Fprintf(w, "calibration\tconfidence and share right differ by %.3f\n\n", s.CalibrationOff)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "CLASS\tF1\tPRECISION\tRECALL\tROWS\tCALLED\n")
	for i, name := range s.Classes {
		c := s.PerClass[name]
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%d\t%s\n", name, c.F1, c.Precision, c.Recall, c.Rows, calledText(s, i))
	}
	fmt.Fprintf(w, "\nCONFIDENCE\tROWS\tRIGHT\n")
	for _, b := range s.Bins {
		if b.Rows > 0 {
			fmt.Fprintf(w, "%.1f to %.1f\t%d\t%.1f %%\n", b.From, b.From+0.1, b.Rows, 100*b.Right)
		}
	}
	return w.Flush()
}

// calledText is a row of the confusion matrix without its zeros.
func calledText(s *train.Score, class int) string {
	var parts []string
	for c, n := range s.Confusion[class] {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s.Classes[c], n))
		}
	}
	return strings.Join(parts, ", ")
}

func newModelExplain(c *connection) *cobra.Command {
	var data []string
	var model, device string
	var at float64
	cmd := &cobra.Command{
		Use: "explain", Short: "Say why rows are called what they are", Args: cobra.NoArgs,
		Long: `explain prints the verdict on rows and its reasons: the measures that, if they were as usual, would take most from the probability of
the class. It prints the rows at which the verdict changes; --at names one by its time, and --device those of one device.`,
		Example: "  holdfastctl model explain --model m.hfm --data c.csv\n  holdfastctl model explain --model m.hfm --data c.csv --device C --at 27 --json",
	}
	f := cmd.Flags()
	f.StringVar(&model, "model", "", "`FILE` of the model")
	f.StringArrayVar(&data, "data", nil, "`FILE` of CSV; may come more than once")
	f.StringVar(&device, "device", "", "rows of this device alone")
	f.Float64Var(&at, "at", math.NaN(), "the row of this time, in seconds, or the first one after it")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		m, err := readModel(model)
		if err != nil {
			return err
		}
		tables, err := readTables(data, "", "")
		if err != nil {
			return err
		}
		list, err := train.Explain(m, tables, device, at)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return hinted(fmt.Errorf("no such row"), fmt.Sprintf("the first %d rows of a device have no verdict: the window is not full", m.Window-1))
		}
		for _, e := range list {
			if c.json {
				err = printJSON(cmd.OutOrStdout(), e)
			} else {
				err = showExplained(cmd.OutOrStdout(), e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func showExplained(out io.Writer, e train.Explained) error {
	text := e.Class
	switch forest.Doubt(e.Doubt) {
	case forest.OutOfRange:
		text = fmt.Sprintf("unknown: %s is %.1f times its range outside of it; nearest is %s", e.Feature, e.Beyond, e.Class)
	case forest.Unsure:
		text = "unknown: most like " + e.Class
	case forest.Missing:
		text = "unknown: no value of " + e.Feature
	}
	_, err := fmt.Fprintf(out, "%s %g: %s, confidence %.2f\n", e.Device, e.Time, text, e.Confidence)
	for _, r := range e.Reasons {
		if err == nil {
			_, err = fmt.Fprintf(out, "    %s is %.4g, usually %.4g (%.0f %% of the votes)\n", r.Metric, r.Value, r.Usual, 100*r.Drop)
		}
	}
	return err
}
