//! Rules as nft and iptables print them, and what becomes of packets.

use super::*;
use crate::model::{Cidr, Mode, OwnAddress};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// What becomes of a kind of packet, in a word.
fn word(passage: &Passage) -> &'static str {
    match passage {
        Passage::Passes => "passes",
        Passage::Stopped(_) => "stopped",
        Passage::Unclear(_) => "unclear",
    }
}

fn traffic(mode: Mode) -> TrafficSettings<'static> {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    TrafficSettings {
        interface: "eno2",
        mode,
        own: Some(OwnAddress {
            address,
            cidr: Cidr::containing(address, 24),
        }),
        tftp_port: 69,
        http_port: 80,
        tftp_single_port: false,
    }
}

/// What does not pass.
fn kept_out(rules: &Ruleset) -> Vec<(&'static str, &'static str)> {
    let passages = rules.passages(&traffic(Mode::Dhcp));
    let kept = passages.iter().filter(|(_, passage)| *passage != Passage::Passes);
    kept.map(|(what, passage)| (what.split(" (").next().unwrap(), word(passage)))
        .collect()
}

fn rules(chains: &[Value], others: &[Value]) -> Ruleset {
    let objects: Vec<&Value> = chains.iter().chain(others).collect();
    read_nftables(&json!({ "nftables": objects }).to_string(), |_, _| false).unwrap()
}

fn chain(name: &str, hook: &str, policy: &str) -> Value {
    json!({"chain": {"family": "inet", "table": "filter", "name": name, "handle": 1, "type": "filter", "hook": hook,
                     "prio": 0, "policy": policy}})
}

fn rule(chain: &str, expressions: Value) -> Value {
    json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "handle": 7, "expr": expressions}})
}

fn is(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn port(protocol: &str, port: Value) -> Value {
    is(json!({"payload": {"protocol": protocol, "field": "dport"}}), port)
}

fn state(states: &[&str]) -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": states}})
}

fn interface(name: &str) -> Value {
    is(json!({"meta": {"key": "iifname"}}), json!(name))
}

#[test]
fn without_rules_everything_passes() {
    assert_eq!(kept_out(&Ruleset::default()), []);
    assert_eq!(kept_out(&rules(&[chain("input", "input", "accept")], &[])), []);
}

#[test]
fn a_rule_that_drops_one_port_stops_that_alone() {
    let dropped = rule(
        "input",
        json!([port("udp", json!(69)), {"counter": {"packets": 0}}, {"drop": null}]),
    );
    let found = rules(&[chain("input", "input", "accept")], &[dropped]);
    assert_eq!(kept_out(&found), [("requests of TFTP", "stopped")]);
    let passages = found.passages(&traffic(Mode::Dhcp));
    let Some((_, Passage::Stopped(place))) = passages.iter().find(|(_, passage)| *passage != Passage::Passes) else {
        panic!("{passages:?}");
    };
    let said = place.to_string();
    assert!(
        said.contains("handle 7") && said.contains("table inet filter"),
        "{said}"
    );
    // On another interface, of another protocol, of IPv6, or of others' addresses it is none of ours.
    for other in [
        json!([interface("eno1"), port("udp", json!(69)), {"drop": null}]),
        json!([interface("wl*"), {"drop": null}]),
        json!([port("tcp", json!(69)), {"drop": null}]),
        json!([is(json!({"meta": {"key": "nfproto"}}), json!("ipv6")), {"drop": null}]),
        json!([is(json!({"payload": {"protocol": "icmp", "field": "type"}}), json!("echo-request")), {"drop": null}]),
        json!([is(json!({"payload": {"protocol": "ip", "field": "saddr"}}),
                  json!({"prefix": {"addr": "203.0.113.0", "len": 24}})), {"drop": null}]),
    ] {
        assert_eq!(
            kept_out(&rules(&[chain("input", "input", "accept")], &[rule("input", other)])),
            []
        );
    }
}

#[test]
fn a_policy_that_drops_needs_each_port_and_what_goes_on() {
    let input = chain("input", "input", "drop");
    let wanted = |ports: Value| {
        rule(
            "input",
            json!([interface("eno2"), port("udp", ports), {"accept": null}]),
        )
    };
    let http = rule(
        "input",
        json!([port("tcp", json!({"range": [80, 90]})), {"accept": null}]),
    );
    let going_on = rule("input", json!([state(&["established", "related"]), {"accept": null}]));
    let both = json!({"set": [67, 69]});
    assert_eq!(
        kept_out(&rules(
            std::slice::from_ref(&input),
            &[wanted(both.clone()), http.clone(), going_on.clone()]
        )),
        []
    );
    assert_eq!(
        kept_out(&rules(std::slice::from_ref(&input), &[wanted(both), http.clone()])),
        [("acknowledgements of TFTP's blocks", "stopped")]
    );
    assert_eq!(
        kept_out(&rules(
            std::slice::from_ref(&input),
            &[wanted(json!(69)), http, going_on]
        )),
        [("requests of DHCP", "stopped")]
    );
    assert_eq!(kept_out(&rules(&[input], &[])).len(), 5);
}

#[test]
fn chains_lead_to_chains_and_what_one_accepts_another_may_drop() {
    let other = json!({"chain": {"family": "inet", "table": "filter", "name": "services", "handle": 2}});
    let jump = rule("input", json!([interface("eno2"), {"jump": {"target": "services"}}]));
    let accepted = rule(
        "services",
        json!([is(json!({"meta": {"key": "l4proto"}}), json!({"set": ["udp", "tcp"]})), {"accept": null}]),
    );
    let chains = [chain("input", "input", "drop"), other];
    assert_eq!(kept_out(&rules(&chains, &[jump.clone(), accepted.clone()])), []);
    let returned = rule("services", json!([{"return": null}]));
    assert_eq!(
        kept_out(&rules(&chains, &[jump.clone(), returned, accepted.clone()])).len(),
        5
    );
    let late = json!({"chain": {"family": "ip", "table": "late", "name": "in", "type": "filter", "hook": "input", "prio": 10,
                                "policy": "drop"}});
    let [first, second] = chains;
    assert_eq!(kept_out(&rules(&[first, second, late], &[jump, accepted])).len(), 5);
}

#[test]
fn a_map_of_verdicts_is_followed() {
    let states = json!({"set": [["established", {"accept": null}], ["invalid", {"drop": null}]]});
    let by_state = rule(
        "input",
        json!([{"vmap": {"key": {"ct": {"key": "state"}}, "data": states}}]),
    );
    let by_port = |data: Value| {
        let key = json!({"payload": {"protocol": "udp", "field": "dport"}});
        rule("input", json!([{"vmap": {"key": key, "data": data}}]))
    };
    let http = rule("input", json!([port("tcp", json!(80)), {"accept": null}]));
    let written = json!({"set": [[67, {"accept": null}], [69, {"accept": null}]]});
    let chains = [chain("input", "input", "drop")];
    assert_eq!(
        kept_out(&rules(&chains, &[by_state.clone(), by_port(written), http.clone()])),
        []
    );
    let named = json!({"map": {"family": "inet", "table": "filter", "name": "services", "type": "inet_service",
                               "map": "verdict", "elem": [[67, {"accept": null}], [69, {"drop": null}]]}});
    let found = rules(&chains, &[named, by_state, by_port(json!("@services")), http]);
    assert_eq!(kept_out(&found), [("requests of TFTP", "stopped")]);
}

#[test]
fn what_is_not_understood_is_never_clear() {
    let drop_all = json!({"drop": null});
    for clever in [
        json!({"xt": null}),
        json!({"limit": {"rate": 3, "per": "second"}}),
        is(
            json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}),
            json!(false),
        ),
        is(
            json!({"payload": {"protocol": "ip", "field": "saddr"}}),
            json!("@nobody_knows"),
        ),
        is(json!({"meta": {"key": "mark"}}), json!(7)),
        is(
            json!({"payload": {"protocol": "ip", "field": "saddr"}}),
            json!("192.0.2.77"),
        ),
    ] {
        let found = rules(
            &[chain("input", "input", "accept")],
            &[rule("input", json!([clever, drop_all]))],
        );
        let kept = kept_out(&found);
        assert!(
            !kept.is_empty() && kept.iter().all(|(_, word)| *word == "unclear"),
            "{clever}: {kept:?}"
        );
        // And what may accept makes a policy that drops no sure one.
        let accepts = rule("input", json!([clever, {"accept": null}]));
        let kept = kept_out(&rules(&[chain("input", "input", "drop")], &[accepts]));
        assert!(kept.iter().any(|(_, word)| *word == "unclear"), "{clever}: {kept:?}");
    }
    let redirected = json!({"chain": {"family": "ip", "table": "nat", "name": "pre", "type": "nat", "hook": "prerouting",
                                      "prio": -100, "policy": "accept"}});
    let redirect = json!({"rule": {"family": "ip", "table": "nat", "chain": "pre", "handle": 3,
                                   "expr": [port("tcp", json!(80)), {"redirect": {"port": 3128}}]}});
    assert_eq!(
        kept_out(&rules(&[redirected], &[redirect])),
        [("requests of HTTP", "unclear"), ("HTTP connections", "unclear")]
    );
    assert!(read_nftables("no JSON", |_, _| false).is_err());
}

#[test]
fn replies_that_are_stopped_on_their_way_out_are_named() {
    let out = is(json!({"meta": {"key": "oifname"}}), json!("eno2"));
    let found = rules(
        &[chain("output", "output", "accept")],
        &[rule(
            "output",
            json!([out, is(json!({"meta": {"key": "l4proto"}}), json!("udp")), {"reject": null}]),
        )],
    );
    assert_eq!(
        kept_out(&found),
        [("replies of DHCP", "stopped"), ("blocks of TFTP", "stopped")]
    );
}

#[test]
fn iptables_rules_are_read_as_iptables_save_prints_them() {
    let saved = "\
# Generated by iptables-save v1.8.9 on Sat Nov 28 19:00:00 2026
*filter
:INPUT DROP [12:3456]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-user-input - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -m limit --limit 3/min -j LOG --log-prefix \"[UFW BLOCK] \"
-A INPUT -j ufw-user-input
-A ufw-user-input -i eno+ -p udp -m multiport --dports 67,69 -m comment --comment \"boots -j DROP\" -j ACCEPT
-A ufw-user-input ! -s 203.0.113.0/24 -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
";
    assert_eq!(kept_out(&read_iptables(saved, "iptables")), []);
    let without = |line: &str| {
        let kept: Vec<&str> = saved.lines().filter(|known| !known.contains(line)).collect();
        kept_out(&read_iptables(&kept.join("\n"), "iptables"))
    };
    assert_eq!(
        without("--dports"),
        [("requests of DHCP", "stopped"), ("requests of TFTP", "stopped")]
    );
    assert_eq!(
        without("ESTABLISHED"),
        [("acknowledgements of TFTP's blocks", "stopped")]
    );
    assert_eq!(without("-A INPUT -j ufw-user-input").len(), 3);
    let clever = saved.replace("-m multiport --dports 67,69", "-m string --string x --algo bm");
    assert_eq!(
        kept_out(&read_iptables(&clever, "iptables")),
        [("requests of DHCP", "unclear"), ("requests of TFTP", "unclear")]
    );
    let both = read_iptables(saved, "iptables");
    let dropped = read_iptables(
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp --dport 69 -j DROP\nCOMMIT\n",
        "iptables",
    );
    let mut all = both;
    all.extend(dropped);
    assert_eq!(kept_out(&all), [("requests of TFTP", "stopped")]);
}

#[test]
fn a_chain_that_leads_to_itself_ends() {
    let saved = "*filter\n:INPUT ACCEPT [0:0]\n:round - [0:0]\n-A INPUT -j round\n-A round -j round\nCOMMIT\n";
    assert!(
        kept_out(&read_iptables(saved, "iptables"))
            .iter()
            .all(|(_, word)| *word == "unclear")
    );
}
