// Command chart prints the documents of a Helm chart, as `helm template` does:
//
//	chart FOLDER RELEASE NAMESPACE [VALUES.yaml]
//
// Hooks are printed with the rest, in the order of installation; the chart's own crds/ folders are left out.
package main

import (
	"fmt"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

func main() {
	if len(os.Args) < 4 || len(os.Args) > 5 {
		fail(fmt.Errorf("usage: chart FOLDER RELEASE NAMESPACE [VALUES.yaml]"))
	}
	values := chartutil.Values{}
	if len(os.Args) == 5 {
		var err error
		if values, err = chartutil.ReadValuesFile(os.Args[4]); err != nil {
			fail(err)
		}
	}
	documents, err := render(os.Args[1], os.Args[2], os.Args[3], values)
	if err != nil {
		fail(err)
	}
	for _, document := range documents {
		fmt.Printf("---\n%s\n", strings.TrimSpace(document))
	}
}

func render(folder, release, namespace string, values chartutil.Values) ([]string, error) {
	chart, err := loader.Load(folder)
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(chart, values); err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	for name := range rendered {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(rendered, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(rendered, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, err
	}
	documents := []string{}
	for _, manifest := range manifests {
		documents = append(documents, manifest.Content)
	}
	for _, hook := range hooks {
		documents = append(documents, hook.Manifest)
	}
	return documents, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "chart:", err)
	os.Exit(1)
}
