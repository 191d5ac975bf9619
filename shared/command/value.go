package command

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/secretx/secretx/shared/secret"
)

// valueOptions are the flags that say where new values come from. None of them takes a value itself:
// what stands in an argument is there for every user of the machine to see.
type valueOptions struct {
	files    []string
	envFile  string
	generate string
	key      string
	trim     bool
}

func (o *valueOptions) addFlags(flags *pflag.FlagSet) {
	grouped(flags, groupValues, func() {
		flags.StringArrayVar(&o.files, "from-file", nil, "Take the value from a file, as `[KEY=]PATH`; - is standard input; may be repeated")
		flags.StringVar(&o.envFile, "from-env-file", "", "Take keys and values from the lines KEY=VALUE of a `file`")
		flags.StringVar(&o.generate, "generate", "", "Make a random value of this `LENGTH[:ALPHABET]`; the alphabet is alnum (the default), hex, digits, base64, print, or the characters themselves")
		flags.StringVar(&o.key, "key", "", "The `key` of a value that comes without one (the name of the secret)")
		flags.BoolVar(&o.trim, "trim-newline", false, "Take one newline off the end of each value")
	})
}

// alphabets are those with a name.
var alphabets = map[string]string{
	"alnum":  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	"hex":    "0123456789abcdef",
	"digits": "0123456789",
	"base64": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	"print":  "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
}

// given tells whether any flag says where values come from.
func (o *valueOptions) given() bool { return len(o.files) > 0 || o.envFile != "" || o.generate != "" }

// check looks at flags that don't go together.
func (o *valueOptions) check() error {
	sources := 0
	for _, given := range []bool{len(o.files) > 0, o.envFile != "", o.generate != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		return errors.New("--from-file, --from-env-file and --generate exclude each other")
	}
	stdin := 0
	for _, file := range o.files {
		if _, path := o.split(file); path == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("only one --from-file can be standard input")
	}
	if o.generate != "" {
		_, _, err := parseGenerate(o.generate)
		return err
	}
	return nil
}

func (o *valueOptions) split(file string) (key, path string) {
	if key, path, found := strings.Cut(file, "="); found {
		return key, path
	}
	return "", file
}

// keyed is a value and the key that it came with, which is empty where it came without.
type keyed struct {
	key   string
	value secret.Value
}

// read gets the values: from files, from what is piped in, or from whoever sits at the terminal.
func (o *valueOptions) read(ctx context.Context, host Host) ([]keyed, error) {
	values, err := o.source(ctx, host)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, v := range values {
		if v.key == "" {
			values[i].key = o.key
		}
		if seen[values[i].key] {
			return nil, fmt.Errorf("the key %q is given twice", values[i].key)
		}
		seen[values[i].key] = true
		bytes := v.value.Reveal()
		cut, ends := trimNewline(bytes)
		switch {
		case ends && o.trim:
			values[i].value = secret.NewValue(cut)
		case ends:
			what := "the value"
			if values[i].key != "" {
				what += " of " + values[i].key
			}
			_, _ = fmt.Fprintln(host.Err, "warning: "+what+" ends in a newline, which breaks many a login; --trim-newline takes it off")
		}
	}
	return values, nil
}

func trimNewline(b []byte) (cut []byte, ends bool) {
	cut, ends = bytes.CutSuffix(b, []byte("\n"))
	if ends {
		cut = bytes.TrimSuffix(cut, []byte("\r"))
	}
	return cut, ends
}

func (o *valueOptions) source(ctx context.Context, host Host) ([]keyed, error) {
	switch {
	case len(o.files) > 0:
		var values []keyed
		for _, file := range o.files {
			key, path := o.split(file)
			content, err := readInput(host, path)
			if err != nil {
				return nil, err
			}
			if key == "" && len(o.files) > 1 {
				key = filepath.Base(path)
			}
			values = append(values, keyed{key, secret.NewValue(content)})
		}
		return values, nil
	case o.envFile != "":
		content, err := readInput(host, o.envFile)
		if err != nil {
			return nil, err
		}
		return parseEnvFile(o.envFile, content)
	case o.generate != "":
		length, alphabet, err := parseGenerate(o.generate)
		if err != nil {
			return nil, err
		}
		return []keyed{{"", generate(length, alphabet)}}, nil
	case host.Terminal():
		value, err := ask(ctx, host)
		return []keyed{{"", value}}, err
	}
	content, err := readInput(host, "-")
	if err == nil && len(content) == 0 {
		err = errors.New("there is no value: use --from-file, --from-env-file or --generate, or pipe one in")
	}
	return []keyed{{"", secret.NewValue(content)}}, err
}

// largest is more than either side takes.
const largest = 2 << 20

func readInput(host Host, path string) ([]byte, error) {
	in := host.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, largest+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(content) > largest {
		return nil, fmt.Errorf("%s has more than %d bytes, which is more than any secret may have", path, largest)
	}
	return content, nil
}

// parseEnvFile reads lines of KEY=VALUE as docker and kubectl do: nothing is quoted, nothing expanded;
// empty lines and those that begin with # are passed over. Errors show no line, which may be a value.
func parseEnvFile(path string, content []byte) ([]keyed, error) {
	var values []keyed
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	for i, line := range bytes.Split(content, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if trimmed := bytes.TrimSpace(line); len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		key, value, found := bytes.Cut(line, []byte("="))
		name := strings.TrimSpace(string(key))
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d of %s is not KEY=VALUE", i+1, path)
		}
		values = append(values, keyed{name, secret.NewValue(slices.Clone(value))})
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%s has no line KEY=VALUE", path)
	}
	return values, nil
}

func parseGenerate(text string) (length int, alphabet string, err error) {
	number, name, named := strings.Cut(text, ":")
	length, err = strconv.Atoi(number)
	switch {
	case err != nil || length < 1 || length > 100_000:
		return 0, "", fmt.Errorf("--generate %q: the length must be from 1 to 100000", text)
	case !named:
		name = "alnum"
	case name == "" || !utf8.ValidString(name):
		return 0, "", fmt.Errorf("--generate %q: there is no alphabet", text)
	}
	if known, there := alphabets[name]; there {
		return length, known, nil
	}
	letters := []rune(name)
	slices.Sort(letters)
	if letters = slices.Compact(letters); len(letters) < 2 {
		return 0, "", fmt.Errorf("--generate %q: an alphabet has at least two characters", text)
	}
	return length, string(letters), nil
}

// generate draws each character with the same probability.
func generate(length int, alphabet string) secret.Value {
	letters := []rune(alphabet)
	n := big.NewInt(int64(len(letters)))
	var b []byte
	for range length {
		i, _ := rand.Int(rand.Reader, n) // never fails
		b = utf8.AppendRune(b, letters[i.Int64()])
	}
	return secret.NewValue(b)
}

// ask prompts for a value, twice, without showing it.
func ask(ctx context.Context, host Host) (secret.Value, error) {
	first, err := host.Password(ctx, "Value: ")
	if err != nil {
		return secret.Value{}, err
	}
	second, err := host.Password(ctx, "The same again: ")
	switch {
	case err != nil:
		return secret.Value{}, err
	case !bytes.Equal(first, second):
		return secret.Value{}, errors.New("the two differ: nothing was written")
	case len(first) == 0:
		return secret.Value{}, errors.New("no value was given: nothing was written")
	}
	return secret.NewValue(first), nil
}
