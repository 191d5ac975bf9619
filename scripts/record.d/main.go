// Command record runs a command in a terminal of its own and draws what stands on its screen at the end as
// an SVG. scripts/record makes the pictures of the documentation with it.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"image/color"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// rows are more than any picture has, so that nothing scrolls away.
const rows = 300

func main() {
	title := flag.String("title", "", "what stands above the picture")
	columns := flag.Int("columns", 110, "the width of the terminal")
	out := flag.String("out", "", "the SVG to write")
	flag.Parse()
	if err := run(*title, *columns, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(title string, columns int, out string, command []string) error {
	if out == "" || len(command) == 0 {
		return errors.New("usage: record -out FILE [-title TEXT] [-columns N] -- COMMAND…")
	}
	screen := vt.NewSafeEmulator(columns, rows)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", fmt.Sprintf("COLUMNS=%d", columns))
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: uint16(columns)})
	if err != nil {
		return err
	}
	defer terminal.Close()
	go func() { _, _ = io.Copy(terminal, screen) }() // what a program asks its terminal
	if _, err := io.Copy(screen, terminal); err != nil && !errors.Is(err, syscall.EIO) {
		return err // EIO is how a terminal ends
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, screen.String())
	}
	return os.WriteFile(out, draw(screen, columns, title), 0o644)
}

// The measures of the picture, in pixels.
const (
	charWidth  = 8.4
	lineHeight = 19.0
	fontSize   = 14
	margin     = 16.0
	bar        = 30.0
)

var dark = struct{ back, text, bar, title string }{"#16181d", "#d7dae0", "#24272e", "#8b919c"}

// palette are the sixteen colours of a terminal.
var palette = []string{
	"#3b3f4a", "#e5746f", "#8cc570", "#e0b567", "#6fa8e6", "#c08ce0", "#5fbfc0", "#d7dae0",
	"#6b7280", "#ff8f8a", "#a5dd8a", "#f4cd84", "#8fc1ff", "#d6a8f5", "#7fdcdd", "#ffffff",
}

func draw(screen *vt.SafeEmulator, columns int, title string) []byte {
	last := 0
	for y := range rows {
		for x := range columns {
			if c := screen.CellAt(x, y); c != nil && strings.TrimSpace(c.Content) != "" {
				last = y + 1
			}
		}
	}
	width, height := float64(columns)*charWidth+2*margin, float64(last)*lineHeight+2*margin+bar
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n", width, height, width, height, html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/><path d="M0 %.0fV8a8 8 0 0 1 8-8H%.0fa8 8 0 0 1 8 8V%.0fZ" fill="%s"/>`+"\n", dark.back, bar, width-8, bar, dark.bar)
	fmt.Fprintf(&b, `<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d" fill="%s" xml:space="preserve">`+"\n", fontSize, dark.text)
	fmt.Fprintf(&b, `<text x="%.0f" y="20" text-anchor="middle" fill="%s">%s</text>`+"\n", width/2, dark.title, html.EscapeString(title))
	for y := range last {
		base := bar + margin + float64(y)*lineHeight + fontSize
		for x := 0; x < columns; {
			from := x
			style := styleAt(screen, x, y)
			var text strings.Builder
			for x < columns && styleAt(screen, x, y) == style {
				content, step := " ", 1
				if c := screen.CellAt(x, y); c != nil && c.Content != "" {
					content, step = c.Content, max(1, c.Width)
				}
				text.WriteString(content)
				x += step
			}
			trimmed := strings.TrimRight(text.String(), " ")
			if trimmed == "" {
				continue
			}
			n := len([]rune(trimmed))
			// The length is said, so that columns stand in line whatever font there is.
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" textLength="%.1f"%s>%s</text>`+"\n", margin+float64(from)*charWidth, base, float64(n)*charWidth, style, html.EscapeString(trimmed))
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

// styleAt is the style of a cell as attributes.
func styleAt(screen *vt.SafeEmulator, x, y int) string {
	c := screen.CellAt(x, y)
	if c == nil {
		return ""
	}
	text := ""
	if c.Style.Fg != nil {
		text += ` fill="` + hex(c.Style.Fg) + `"`
	}
	if c.Style.Attrs&uv.AttrBold != 0 {
		text += ` font-weight="bold"`
	}
	if c.Style.Attrs&uv.AttrFaint != 0 {
		text += ` opacity="0.7"`
	}
	return text
}

// hex takes the sixteen colours from the palette.
func hex(c color.Color) string {
	if basic, ok := c.(ansi.BasicColor); ok && int(basic) < len(palette) {
		return palette[basic]
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}
