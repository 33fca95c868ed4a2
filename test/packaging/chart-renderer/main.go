// Renders a Helm chart as `helm template` does: Go's text/template with sprig's functions, and those that Helm adds.
// Reads {"chart": DIR, "values": {…}, "release": {…}, "existing": {"v1/Secret/NAMESPACE/NAME": {…}}} from standard input,
// writes {"FILE": "rendered text"} to standard output.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type request struct {
	Chart    string
	Values   map[string]interface{}
	Release  map[string]interface{}
	Existing map[string]map[string]interface{}
}

func main() {
	var asked request
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	rendered, err := render(asked)
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(rendered))
}

func render(asked request) (map[string]string, error) {
	chart := map[string]interface{}{}
	values := map[string]interface{}{}
	for file, target := range map[string]*map[string]interface{}{"Chart.yaml": &chart, "values.yaml": &values} {
		text, err := os.ReadFile(filepath.Join(asked.Chart, file))
		if err != nil {
			return nil, err
		}
		if err := yaml.UnmarshalStrict(text, target); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	merge(values, asked.Values)
	// The file says appVersion, templates say .Chart.AppVersion.
	named := map[string]interface{}{}
	for key, value := range chart {
		named[strings.ToUpper(key[:1])+key[1:]] = value
	}
	data := map[string]interface{}{"Values": values, "Chart": named, "Release": asked.Release}

	set := template.New("chart").Option("missingkey=zero")
	set.Funcs(functions(set, asked.Existing))
	files, err := filepath.Glob(filepath.Join(asked.Chart, "templates", "*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if _, err := set.New(filepath.Base(file)).Parse(string(text)); err != nil {
			return nil, err
		}
	}
	rendered := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		if err := set.ExecuteTemplate(&out, name, data); err != nil {
			return nil, err
		}
		rendered[name] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	return rendered, nil
}

func functions(set *template.Template, existing map[string]map[string]interface{}) template.FuncMap {
	all := sprig.TxtFuncMap()
	// As in Helm: a chart is not to see the machine's environment.
	delete(all, "env")
	delete(all, "expandenv")
	all["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := set.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	all["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	all["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	all["lookup"] = func(version, kind, namespace, name string) map[string]interface{} {
		if found, ok := existing[strings.Join([]string{version, kind, namespace, name}, "/")]; ok {
			return found
		}
		return map[string]interface{}{}
	}
	return all
}

// Values given win over the chart's, table by table; null takes a key out.
func merge(into, from map[string]interface{}) {
	for key, value := range from {
		inner, isTable := value.(map[string]interface{})
		own, hasTable := into[key].(map[string]interface{})
		switch {
		case value == nil:
			delete(into, key)
		case isTable && hasTable:
			merge(own, inner)
		default:
			into[key] = value
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
