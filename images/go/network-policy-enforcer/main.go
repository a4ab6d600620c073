// A stand-in for a cluster's enforcer of NetworkPolicies, for labs whose network plugin has none and where no upstream
// enforcer can be had. One node, IPv4. It watches Pods, Namespaces and NetworkPolicies, and after each change puts the
// whole rule set before the node's kernel at once (iptables-restore).
//
// Not enforced: IPv6, ICMP, named ports of peers outside the cluster, Pods on the node's own network, Pods of other
// nodes, traffic that the node itself sends, and the moment (well below a second) before a new Pod's rules are there.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Changes come in bursts; one rule set answers all that arrive within this time.
const settle = 50 * time.Millisecond

// The node's own iptables, because kube-proxy's rules lie in the same backend (nft or legacy) as those.
const node = "/host"

// Connections to other Pods are forwarded by the node, those to the node itself are its input.
var hooked = []string{"FORWARD", "INPUT"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(notify(changed)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	before := ""
	for {
		world := World{Namespaces: map[string]labels.Set{}}
		for _, namespace := range must(namespaces.Lister().List(labels.Everything())) {
			world.Namespaces[namespace.Name] = namespace.Labels
		}
		world.Pods = must(pods.Lister().List(labels.Everything()))
		world.Policies = must(policies.Lister().List(labels.Everything()))
		if rules := world.Rules(); rules != before {
			if err := restore(ctx, rules); err != nil {
				return err
			}
			before = rules
			log.Printf("%d policies, %d Pods: in effect", len(world.Policies), len(world.Pods))
		}
		select {
		case <-ctx.Done():
			return remove(context.Background())
		case <-changed:
			time.Sleep(settle)
		}
	}
}

// must: a lister of a synchronised informer has no error to give.
func must[T any](found []T, err error) []T {
	if err != nil {
		panic(err)
	}
	return found
}

func notify(changed chan<- struct{}) cache.ResourceEventHandler {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // one is waiting already
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() },
		UpdateFunc: func(before, after any) {
			if differs(before, after) {
				tell()
			}
		},
		DeleteFunc: func(any) { tell() },
	}
}

// differs leaves out what a Pod's heartbeat changes: rules know only labels, addresses and ports.
func differs(before, after any) bool {
	old, isPod := before.(*corev1.Pod)
	if !isPod {
		return true
	}
	new := after.(*corev1.Pod)
	return old.Status.PodIP != new.Status.PodIP || old.Status.Phase != new.Status.Phase ||
		!labels.Equals(old.Labels, new.Labels)
}

// restore replaces our chains and nothing else, all at once; a hook is added where it is missing.
func restore(ctx context.Context, rules string) error {
	if err := iptables(ctx, rules, "iptables-restore", "--noflush", "--wait"); err != nil {
		return err
	}
	for _, chain := range hooked {
		if iptables(ctx, "", "iptables", "--wait", "-C", chain, "-j", top) == nil {
			continue
		}
		if err := iptables(ctx, "", "iptables", "--wait", "-I", chain, "1", "-j", top); err != nil {
			return err
		}
	}
	return nil
}

// remove leaves the node as it was found.
func remove(ctx context.Context) error {
	for _, chain := range hooked {
		if err := iptables(ctx, "", "iptables", "--wait", "-D", chain, "-j", top); err != nil {
			return err
		}
	}
	chains := []string{"-F " + top, "-X " + top, "-X " + egress, "-X " + ingress}
	lines := slices.Concat([]string{"*filter", "-F " + egress, "-F " + ingress}, chains, []string{"COMMIT", ""})
	return iptables(ctx, strings.Join(lines, "\n"), "iptables-restore", "--noflush", "--wait")
}

func iptables(ctx context.Context, input, program string, args ...string) error {
	command := exec.CommandContext(ctx, "/usr/sbin/"+program, args...)
	command.Stdin = bytes.NewBufferString(input)
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: node}
	command.Dir = "/"
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", program, args, err, output)
	}
	return nil
}
