//! The packets of each machine's boots that are kept: so many bytes of each machine, so many in all.
//!
//! One machine that goes round in circles pushes out its own packets alone. Where all of them are too many, the oldest
//! go, whosever they are.

use crate::boot::event::MachineKey;
use crate::model::{
    MacAddr,
    limits::{RECORDER_MACHINE_BYTES_MAX, RECORDER_PACKET_BYTES},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddrV4,
    sync::Arc,
    time::Duration,
};

/// What a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketKind {
    /// A DHCP message.
    Dhcp,
    /// A TFTP packet.
    Tftp,
    /// The head of an HTTP request or response.
    HttpHead,
}

/// A packet that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPacket {
    /// When, on the monotonic clock.
    pub at: Duration,
    /// What it is of.
    pub kind: PacketKind,
    /// Whether we sent it.
    pub is_ours: bool,
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
    /// The machine's MAC, where it is on our own wire and known.
    pub mac: Option<MacAddr>,
    /// The interface, where that is known.
    pub interface: Option<Arc<str>>,
    /// Bytes of its payload, of which fewer may be kept.
    pub length: usize,
    /// Those that are.
    pub bytes: Box<[u8]>,
}

impl RecordedPacket {
    /// What it takes.
    fn cost(&self) -> usize {
        self.bytes.len() + RECORDER_PACKET_BYTES
    }
}

/// One machine's packets.
#[derive(Debug, Default)]
struct MachinePackets {
    /// Each with its number, in their order.
    packets: VecDeque<(u64, RecordedPacket)>,
    bytes: usize,
}

/// Every packet that is kept.
#[derive(Debug, Default)]
pub struct PacketRings {
    machines: HashMap<MachineKey, MachinePackets>,
    /// Whose the packet of each number is.
    order: BTreeMap<u64, MachineKey>,
    next: u64,
    bytes: usize,
    bytes_max: usize,
}

impl PacketRings {
    /// Keeps so many bytes in all from now on.
    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink();
        let machine_max = self.machine_max();
        let keys: Vec<MachineKey> = self.machines.keys().cloned().collect();
        for key in keys {
            self.shrink_machine(&key, machine_max);
        }
    }

    fn machine_max(&self) -> usize {
        RECORDER_MACHINE_BYTES_MAX.min(self.bytes_max / 8)
    }

    /// Keeps a packet.
    pub fn push(&mut self, key: MachineKey, packet: RecordedPacket) {
        let cost = packet.cost();
        if cost > self.machine_max() {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.bytes += cost;
        self.order.insert(number, key.clone());
        let machine = self.machines.entry(key.clone()).or_default();
        machine.bytes += cost;
        machine.packets.push_back((number, packet));
        self.shrink_machine(&key, self.machine_max());
        self.shrink();
    }

    fn shrink_machine(&mut self, key: &MachineKey, bytes_max: usize) {
        while self.machines.get(key).is_some_and(|machine| machine.bytes > bytes_max) {
            self.drop_first(key);
        }
    }

    fn shrink(&mut self) {
        while self.bytes > self.bytes_max
            && let Some((_, key)) = self.order.first_key_value()
        {
            let key = key.clone();
            self.drop_first(&key);
        }
    }

    /// Drops a machine's oldest packet.
    fn drop_first(&mut self, key: &MachineKey) {
        let Some(machine) = self.machines.get_mut(key) else {
            return;
        };
        if let Some((number, packet)) = machine.packets.pop_front() {
            machine.bytes -= packet.cost();
            self.bytes -= packet.cost();
            self.order.remove(&number);
        }
        if machine.packets.is_empty() {
            self.machines.remove(key);
        }
    }

    /// The packets of these machines, in the order of their times.
    pub fn of(&self, keys: &[MachineKey]) -> Vec<RecordedPacket> {
        let kept = keys.iter().filter_map(|key| self.machines.get(key));
        let mut packets: Vec<&(u64, RecordedPacket)> = kept.flat_map(|machine| &machine.packets).collect();
        // What is sent is laid down after what it answers, at the same moment.
        packets.sort_by_key(|(number, packet)| (packet.at, *number));
        packets.into_iter().map(|(_, packet)| packet.clone()).collect()
    }

    /// What the packets that are kept take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HardwareAddr;

    const LENGTH: usize = 840;
    /// A packet of `LENGTH` bytes takes a thousand.
    const COST: usize = LENGTH + RECORDER_PACKET_BYTES;

    fn machine(number: u8) -> MachineKey {
        MachineKey::Hardware(HardwareAddr::from(MacAddr([2, 0, 0, 0, 0, number])))
    }

    fn packet(at: u64) -> RecordedPacket {
        RecordedPacket {
            at: Duration::from_secs(at),
            kind: PacketKind::Dhcp,
            is_ours: false,
            from: "192.0.2.9:68".parse().unwrap(),
            to: "192.0.2.1:67".parse().unwrap(),
            mac: None,
            interface: None,
            length: LENGTH,
            bytes: vec![0; LENGTH].into(),
        }
    }

    fn times(rings: &PacketRings, keys: &[MachineKey]) -> Vec<u64> {
        rings.of(keys).iter().map(|packet| packet.at.as_secs()).collect()
    }

    #[test]
    fn a_machine_in_a_loop_pushes_out_its_own_packets_alone() {
        let mut rings = PacketRings::default();
        rings.resize(16 * COST);
        rings.push(machine(1), packet(0));
        for at in 1..100 {
            rings.push(machine(2), packet(at));
        }
        assert_eq!(times(&rings, &[machine(1)]), [0]);
        assert_eq!(times(&rings, &[machine(2)]), [98, 99], "an eighth of all");
        assert_eq!(rings.bytes(), 3 * COST);
    }

    #[test]
    fn where_all_are_too_many_the_oldest_go_and_a_smaller_bound_holds_at_once() {
        let mut rings = PacketRings::default();
        rings.resize(8 * COST);
        for number in 0..20 {
            rings.push(machine(number), packet(number.into()));
        }
        let all: Vec<MachineKey> = (0..20).map(machine).collect();
        assert_eq!(times(&rings, &all), (12..20).collect::<Vec<u64>>());
        rings.resize(0);
        assert_eq!((times(&rings, &all), rings.bytes()), (vec![], 0));
        rings.push(machine(1), packet(1));
        assert_eq!(rings.bytes(), 0);
    }

    #[test]
    fn the_packets_of_a_machine_that_was_unlisted_before_are_put_in_order() {
        let mut rings = PacketRings::default();
        rings.resize(100 * COST);
        let host = MachineKey::Host("r1u07".parse().unwrap());
        for (key, at) in [(machine(1), 1), (host.clone(), 3), (machine(1), 2)] {
            rings.push(key, packet(at));
        }
        assert_eq!(times(&rings, &[host, machine(1)]), [1, 2, 3]);
    }
}
