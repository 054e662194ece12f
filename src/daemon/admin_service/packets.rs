//! What the flight recorder has of a machine, with what was made of each packet.

use super::{AdminService, events::is_of};
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, PacketFilter, PacketStatus, PacketTime, RecordedInterface, RecordedPackets, RefusalCode},
    routes::GetPackets,
};
use crate::attempt::{AttemptId, AttemptOwner, RecordedPacket};
use crate::boot::event::{Event, MachineKey};
use crate::model::HardwareAddr;
use crate::net::interface::Presence;
use std::{
    fmt::Write,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

impl Answers<GetPackets> for AdminService {
    fn answer(
        &self,
        PacketFilter { machine, attempt }: PacketFilter,
        _: &Caller,
    ) -> Result<Document<RecordedPackets>, AdminRefusal> {
        let [named] = machine.as_slice() else {
            return Err(AdminRefusal::new(RefusalCode::BadRequest, "name one machine"));
        };
        if !self.shared.recorder.is_on() {
            return Err(AdminRefusal::new(
                RefusalCode::NotFound,
                "no packets are kept: bytes is 0 under [recorder]",
            )
            .with_help("set it, and run `bootwright reload`: packets are kept from then on"));
        }
        let owner = self.owner(named)?;
        let span = match attempt.first() {
            Some(id) => self.span_of(&owner, id)?,
            None => Duration::ZERO..Duration::MAX,
        };
        // Packets have the time of a clock that nobody sets; what it is by the calendar is known now.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = wall.saturating_sub(self.shared.clock.monotonic());
        let packets = self.shared.recorded(&self.keys(&owner));
        let kept: Vec<RecordedPacket> = packets
            .into_iter()
            .filter(|packet| span.contains(&(began + packet.at)))
            .collect();
        let events = self.events.all().into_iter().map(|(_, event)| event);
        let notes = notes(&kept, events.filter(|event| is_of(event, &owner)));
        let packets = kept.iter().zip(notes);
        Ok(Document(RecordedPackets {
            machine: owner.to_string(),
            asked: time(wall),
            interfaces: self.interfaces(),
            packets: packets
                .map(|(packet, notes)| self.packet(began, packet, notes))
                .collect(),
        }))
    }
}

impl AdminService {
    /// What a machine's packets may be kept under: its name, and what it was known by before it had one.
    fn keys(&self, owner: &AttemptOwner) -> Vec<MachineKey> {
        let of_mac = |mac| MachineKey::Hardware(HardwareAddr::from(mac));
        match owner {
            AttemptOwner::Mac(mac) => vec![of_mac(*mac)],
            AttemptOwner::Host(name) => {
                let snapshot = self.shared.snapshot.load();
                let host = snapshot.hosts.by_name(name.as_str());
                let macs = host.into_iter().flat_map(|host| host.macs.iter().copied());
                std::iter::once(MachineKey::Host(name.clone()))
                    .chain(macs.map(of_mac))
                    .collect()
            }
        }
    }

    /// From the second in which an attempt began to the one in which the next did, by the calendar.
    fn span_of(&self, owner: &AttemptOwner, id: &str) -> Result<Range<Duration>, AdminRefusal> {
        let ids = self.attempts.ids(Some(owner));
        let wanted = u64::from_str_radix(id, 16).ok().map(AttemptId);
        let place = ids.iter().position(|known| Some(*known) == wanted);
        let second = |id: AttemptId| Duration::from_secs(id.0 / 1000);
        match place {
            Some(place) => {
                let next = place.checked_sub(1).and_then(|next| ids.get(next));
                Ok(second(ids[place])..next.map_or(Duration::MAX, |next| second(*next)))
            }
            None => Err(AdminRefusal::new(
                RefusalCode::NotFound,
                format!("{owner} has no attempt {}", id.escape_debug()),
            )
            .with_help(format!("bootwright why {owner} --all --json has the `id` of each"))),
        }
    }

    fn interfaces(&self) -> Vec<RecordedInterface> {
        let standings = self.standings.load();
        let served = standings.iter().filter_map(|state| match &state.presence {
            Presence::Served(interface) => Some(interface),
            Presence::Missing { .. } | Presence::Unserved { .. } => None,
        });
        served
            .map(|interface| RecordedInterface {
                name: (&*interface.name).into(),
                addresses: interface
                    .addresses
                    .iter()
                    .map(|own| (own.address, own.cidr.prefix()))
                    .collect(),
            })
            .collect()
    }

    fn packet(&self, began: Duration, packet: &RecordedPacket, notes: Vec<String>) -> PacketStatus {
        let ours = if packet.is_ours { packet.from } else { packet.to };
        let by_address = || {
            let interfaces = self.interfaces();
            let has = |interface: &RecordedInterface| interface.addresses.iter().any(|(own, _)| own == ours.ip());
            interfaces.into_iter().find(has).map(|interface| interface.name)
        };
        let mut bytes = String::with_capacity(packet.bytes.len() * 2);
        for byte in &packet.bytes {
            // Writing to a String cannot fail.
            let _ = write!(bytes, "{byte:02x}");
        }
        PacketStatus {
            at: time(began + packet.at),
            kind: packet.kind,
            sent: packet.is_ours,
            from: packet.from,
            to: packet.to,
            mac: packet.mac,
            interface: packet.interface.as_deref().map(str::to_owned).or_else(by_address),
            length: packet.length,
            bytes,
            notes,
        }
    }
}

fn time(at: Duration) -> PacketTime {
    PacketTime {
        s: at.as_secs(),
        ns: at.subsec_nanos(),
    }
}

/// What was made of each packet: an event belongs to the last packet before it. Those from before the first are of
/// packets that are kept no more.
fn notes(packets: &[RecordedPacket], events: impl Iterator<Item = Arc<Event>>) -> Vec<Vec<String>> {
    let mut notes = vec![Vec::new(); packets.len()];
    for event in events {
        let behind = packets.partition_point(|packet| packet.at <= event.at.monotonic);
        if let Some(place) = behind.checked_sub(1) {
            notes[place].push(event.step.to_string());
        }
    }
    notes
}
