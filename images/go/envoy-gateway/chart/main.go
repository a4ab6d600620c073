// Command chart writes the documents of a Helm chart, as `helm template` prints them:
//
//	chart FOLDER RELEASE NAMESPACE VALUES.yaml OUTPUT.yaml
//
// Hooks come after the rest, which is in the order of installation; the chart's own crds/ folders are left out.
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
	if len(os.Args) != 6 {
		fail(fmt.Errorf("usage: chart FOLDER RELEASE NAMESPACE VALUES.yaml OUTPUT.yaml"))
	}
	values, err := chartutil.ReadValuesFile(os.Args[4])
	if err != nil {
		fail(err)
	}
	documents, err := render(os.Args[1], os.Args[2], os.Args[3], values)
	if err != nil {
		fail(err)
	}
	text := strings.Join(documents, "\n---\n") + "\n"
	if err := os.WriteFile(os.Args[5], []byte(text), 0o644); err != nil {
		fail(err)
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
