package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	top     = "REHEARSAL"
	ingress = "REHEARSAL-INGRESS"
	egress  = "REHEARSAL-EGRESS"
)

// World is what decides: all Pods, all policies, and the labels of the namespaces.
type World struct {
	Pods       []*corev1.Pod
	Policies   []*networkingv1.NetworkPolicy
	Namespaces map[string]labels.Set
}

// peer is one side of a rule: an address or a block, and the Pod that has it, if it is one.
type peer struct {
	block string
	pod   *corev1.Pod
}

// Rules is the input of iptables-restore. Both chains must let a connection's first packet through, egress of its
// source and ingress of its target; answers and what follows are never looked at again.
func (w World) Rules() string {
	var in, out []string
	pods := slices.SortedFunc(slices.Values(w.Pods), func(a, b *corev1.Pod) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for _, pod := range pods {
		if addressed(pod) {
			in = append(in, w.isolated(pod, networkingv1.PolicyTypeIngress)...)
			out = append(out, w.isolated(pod, networkingv1.PolicyTypeEgress)...)
		}
	}
	lines := []string{
		"*filter", ":" + top + " - [0:0]", ":" + ingress + " - [0:0]", ":" + egress + " - [0:0]",
		"-A " + top + " -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
		"-A " + top + " -j " + egress,
		"-A " + top + " -j " + ingress,
	}
	return strings.Join(slices.Concat(lines, out, in, []string{"COMMIT", ""}), "\n")
}

// isolated: what the policies that select a Pod allow in one direction, then an end to all else; nothing if none does.
func (w World) isolated(pod *corev1.Pod, direction networkingv1.PolicyType) []string {
	var rules []string
	selected := false
	for _, policy := range w.Policies {
		if policy.Namespace != pod.Namespace || !slices.Contains(policy.Spec.PolicyTypes, direction) ||
			!matches(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				rules = append(rules, w.allowIngress(pod, policy.Namespace, rule)...)
			}
			continue
		}
		for _, rule := range policy.Spec.Egress {
			rules = append(rules, w.allowEgress(pod, policy.Namespace, rule)...)
		}
	}
	if !selected {
		return nil
	}
	slices.Sort(rules)
	rules = slices.Compact(rules)
	if direction == networkingv1.PolicyTypeIngress {
		return append(rules, fmt.Sprintf("-A %s -d %s -j DROP", ingress, pod.Status.PodIP))
	}
	return append(rules, fmt.Sprintf("-A %s -s %s -j DROP", egress, pod.Status.PodIP))
}

func (w World) allowIngress(pod *corev1.Pod, namespace string, rule networkingv1.NetworkPolicyIngressRule) []string {
	var allowed []string
	for _, from := range w.peers(rule.From, namespace) {
		for _, port := range ports(rule.Ports, pod) {
			allowed = append(allowed, fmt.Sprintf("-A %s -s %s -d %s%s -j RETURN", ingress, from.block, pod.Status.PodIP, port))
		}
	}
	return allowed
}

func (w World) allowEgress(pod *corev1.Pod, namespace string, rule networkingv1.NetworkPolicyEgressRule) []string {
	var allowed []string
	for _, to := range w.peers(rule.To, namespace) {
		for _, port := range ports(rule.Ports, to.pod) {
			allowed = append(allowed, fmt.Sprintf("-A %s -s %s -d %s%s -j RETURN", egress, pod.Status.PodIP, to.block, port))
		}
	}
	return allowed
}

func (w World) peers(given []networkingv1.NetworkPolicyPeer, namespace string) []peer {
	if len(given) == 0 {
		return []peer{{block: "0.0.0.0/0"}}
	}
	var found []peer
	for _, each := range given {
		if each.IPBlock != nil {
			for _, block := range without(each.IPBlock.CIDR, each.IPBlock.Except) {
				found = append(found, peer{block: block})
			}
			continue
		}
		for _, pod := range w.Pods {
			if addressed(pod) && w.inNamespace(pod, each.NamespaceSelector, namespace) &&
				(each.PodSelector == nil || matches(each.PodSelector, pod.Labels)) {
				found = append(found, peer{block: pod.Status.PodIP, pod: pod})
			}
		}
	}
	return found
}

func (w World) inNamespace(pod *corev1.Pod, selector *metav1.LabelSelector, own string) bool {
	if selector == nil {
		return pod.Namespace == own
	}
	return matches(selector, w.Namespaces[pod.Namespace])
}

// ports: a match of iptables for each port, named ones as the target Pod names them; one empty match for all ports.
func ports(given []networkingv1.NetworkPolicyPort, target *corev1.Pod) []string {
	if len(given) == 0 {
		return []string{""}
	}
	var found []string
	for _, port := range given {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := " -p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			found = append(found, match)
		case port.Port.Type == intstr.String:
			for _, number := range named(target, port.Port.StrVal, protocol) {
				found = append(found, fmt.Sprintf("%s --dport %d", match, number))
			}
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		}
	}
	return found
}

func named(pod *corev1.Pod, name string, protocol corev1.Protocol) []int32 {
	var found []int32
	if pod != nil {
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == name && port.Protocol == protocol {
					found = append(found, port.ContainerPort)
				}
			}
		}
	}
	return found
}

// without splits a block until no part of it overlaps with an exception; IPv6 gives nothing.
func without(cidr string, except []string) []string {
	block, err := netip.ParsePrefix(cidr)
	if err != nil || !block.Addr().Is4() {
		return nil
	}
	for _, each := range except {
		hole, err := netip.ParsePrefix(each)
		if err != nil || !hole.Overlaps(block) {
			continue
		}
		if hole.Bits() <= block.Bits() {
			return nil
		}
		low := netip.PrefixFrom(block.Masked().Addr(), block.Bits()+1)
		first := block.Masked().Addr().As4()
		first[block.Bits()/8] |= 0x80 >> (block.Bits() % 8)
		high := netip.PrefixFrom(netip.AddrFrom4(first), block.Bits()+1)
		return append(without(low.String(), except), without(high.String(), except)...)
	}
	return []string{block.Masked().String()}
}

// addressed: the Pod has an address of its own that is in use.
func addressed(pod *corev1.Pod) bool {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return err == nil && address.Is4() && !pod.Spec.HostNetwork &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// matches: a selector that cannot be read selects nothing; the API server has refused those already.
func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}
