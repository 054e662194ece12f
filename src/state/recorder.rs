//! The flight recorder: the packets of each machine's boots, kept in memory until newer ones take their room. A
//! restart forgets them.
//!
//! A server lays a packet down on a tray: one copy into memory that is there already, under a lock that nobody waits
//! for. Where all trays are in use at that moment, or full, the packet is counted and not kept. What lies on the trays is
//! filed under its machine elsewhere ([`keep`]), where it is found out, too, who had the address that it came from. Where
//! nothing is laid down nobody looks.

use super::{Counter, Shared};
use crate::attempt::{PacketKind, PacketRings, RecordedPacket};
use crate::boot::event::{Event, MachineKey};
use crate::model::{
    MacAddr,
    limits::{
        RECORDED_HEAD_BYTES_MAX, RECORDED_PACKET_BYTES_MAX, RECORDER_FILE_INTERVAL, RECORDER_TRAY_BYTES,
        RECORDER_TRAY_PACKETS, RECORDER_TRAYS,
    },
};
use std::{
    cell::Cell,
    collections::HashMap,
    mem,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// Whose a packet is.
#[derive(Clone, Copy, Debug)]
pub enum PacketOwner<'a> {
    /// Who decided about it knew.
    Machine(&'a MachineKey),
    /// The machine that has this address.
    At(Ipv4Addr),
}

/// A packet that a server received or sent.
#[derive(Clone, Copy, Debug)]
pub struct ObservedPacket<'a> {
    /// Whose it is.
    pub owner: PacketOwner<'a>,
    /// What it is of.
    pub kind: PacketKind,
    /// When, on the monotonic clock.
    pub at: Duration,
    /// Whether we sent it.
    pub is_ours: bool,
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
    /// The machine's MAC, where it is on our own wire and known.
    pub mac: Option<MacAddr>,
    /// The interface, where it is at hand.
    pub interface: Option<&'a Arc<str>>,
    /// Its payload, without what nobody is to read.
    pub bytes: &'a [u8],
    /// Bytes of the whole payload.
    pub length: usize,
}

/// A packet on a tray.
#[derive(Debug)]
struct LaidPacket {
    owner: Result<MachineKey, Ipv4Addr>,
    kind: PacketKind,
    at: Duration,
    is_ours: bool,
    from: SocketAddrV4,
    to: SocketAddrV4,
    mac: Option<MacAddr>,
    interface: Option<Arc<str>>,
    length: usize,
    /// Where its bytes end on the tray; they begin where those of the packet before end.
    end: usize,
}

/// Where packets lie until they are filed.
#[derive(Debug, Default)]
struct Tray {
    bytes: Vec<u8>,
    packets: Vec<LaidPacket>,
}

impl Tray {
    fn with_room() -> Tray {
        Tray {
            bytes: Vec::with_capacity(RECORDER_TRAY_BYTES),
            packets: Vec::with_capacity(RECORDER_TRAY_PACKETS),
        }
    }

    /// Lays a packet down, if there is room.
    fn lay(&mut self, packet: &ObservedPacket<'_>) -> bool {
        let max = match packet.kind {
            PacketKind::Dhcp | PacketKind::Tftp => RECORDED_PACKET_BYTES_MAX,
            PacketKind::HttpHead => RECORDED_HEAD_BYTES_MAX,
        };
        let bytes = &packet.bytes[..packet.bytes.len().min(max)];
        let has_room =
            self.bytes.capacity() - self.bytes.len() >= bytes.len() && self.packets.len() < self.packets.capacity();
        if has_room {
            self.bytes.extend_from_slice(bytes);
            self.packets.push(LaidPacket {
                owner: match packet.owner {
                    PacketOwner::Machine(key) => Ok(key.clone()),
                    PacketOwner::At(address) => Err(address),
                },
                kind: packet.kind,
                at: packet.at,
                is_ours: packet.is_ours,
                from: packet.from,
                to: packet.to,
                mac: packet.mac,
                interface: packet.interface.map(Arc::clone),
                length: packet.length,
                end: self.bytes.len(),
            });
        }
        has_room
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }
}

/// The flight recorder.
#[derive(Debug, Default)]
pub struct Recorder {
    is_on: AtomicBool,
    trays: [Mutex<Tray>; RECORDER_TRAYS],
    /// An empty tray, for whoever files. Who files also has the order of what was laid down.
    spare: Mutex<Tray>,
    rings: Mutex<PacketRings>,
    /// Something waits to be filed, and whoever files was told.
    is_any_laid: AtomicBool,
    laid: Notify,
}

thread_local! {
    /// The tray that a thread tries first.
    static OWN_TRAY: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Threads that have a tray.
static THREADS: AtomicUsize = AtomicUsize::new(0);

fn own_tray() -> usize {
    OWN_TRAY.with(|own| {
        if own.get() == usize::MAX {
            own.set(THREADS.fetch_add(1, Ordering::Relaxed) % RECORDER_TRAYS);
        }
        own.get()
    })
}

impl Recorder {
    /// Keeps packets of so many bytes from now on; none with 0, and forgets those that it has.
    pub fn resize(&self, bytes_max: usize) {
        let is_on = bytes_max > 0;
        self.is_on.store(is_on, Ordering::Relaxed);
        lock(&self.rings).resize(bytes_max);
        for tray in self.trays.iter().chain([&self.spare]) {
            let mut tray = lock(tray);
            match (is_on, tray.bytes.capacity()) {
                (true, 0) => *tray = Tray::with_room(),
                (true, _) => {}
                (false, _) => *tray = Tray::default(),
            }
        }
    }

    /// Whether packets are kept: who would have to copy for it asks first.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Lays a packet down, without waiting for anybody; false where there is no room now.
    fn lay(&self, packet: &ObservedPacket<'_>) -> bool {
        let first = own_tray();
        let is_laid = (0..RECORDER_TRAYS).any(|next| match self.trays[(first + next) % RECORDER_TRAYS].try_lock() {
            Ok(mut tray) => tray.lay(packet),
            Err(TryLockError::Poisoned(tray)) => tray.into_inner().lay(packet),
            Err(TryLockError::WouldBlock) => false,
        });
        // Each packet but the first looks, and writes nothing that other threads read.
        if is_laid && !self.is_any_laid.load(Ordering::Acquire) && !self.is_any_laid.swap(true, Ordering::AcqRel) {
            self.laid.notify_one();
        }
        is_laid
    }

    /// Files what was laid down. `find` says who has an address, and that machine's MAC.
    fn file(&self, find: impl Fn(Ipv4Addr) -> (MachineKey, Option<MacAddr>)) {
        let mut known: HashMap<Ipv4Addr, (MachineKey, Option<MacAddr>)> = HashMap::new();
        // Before the trays: what is laid down from now on is told of anew.
        self.is_any_laid.store(false, Ordering::Release);
        let mut spare = lock(&self.spare);
        for tray in &self.trays {
            mem::swap(&mut *lock(tray), &mut *spare);
            let Tray { bytes, packets } = &mut *spare;
            let mut start = 0;
            let mut owned = Vec::with_capacity(packets.len());
            for laid in packets.drain(..) {
                let (key, mac) = match laid.owner {
                    Ok(key) => (key, laid.mac),
                    Err(address) => known.entry(address).or_insert_with(|| find(address)).clone(),
                };
                let packet = RecordedPacket {
                    at: laid.at,
                    kind: laid.kind,
                    is_ours: laid.is_ours,
                    from: laid.from,
                    to: laid.to,
                    mac: laid.mac.or(mac),
                    interface: laid.interface,
                    length: laid.length,
                    bytes: bytes[start..laid.end].into(),
                };
                start = laid.end;
                owned.push((key, packet));
            }
            spare.clear();
            let mut rings = lock(&self.rings);
            owned.into_iter().for_each(|(key, packet)| rings.push(key, packet));
        }
    }
}

impl Shared {
    /// Keeps a packet, if packets are kept and there is room; nobody is waited for.
    pub fn record(&self, packet: &ObservedPacket<'_>) {
        if self.recorder.is_on() && !self.recorder.lay(packet) {
            self.counters.count(Counter::RecorderDropped);
        }
    }

    /// Whether the packets of an event's machine are kept: those of boots are, and not what a running system says for
    /// as long as it runs.
    pub fn is_recorded(&self, event: &Event) -> bool {
        self.recorder.is_on() && self.events.is_of_a_boot(event)
    }

    /// The packets of the machines of these names, in the order of their times.
    pub fn recorded(&self, keys: &[MachineKey]) -> Vec<RecordedPacket> {
        self.file_packets();
        lock(&self.recorder.rings).of(keys)
    }

    fn file_packets(&self) {
        self.recorder.file(|address| {
            let machine = self.machine_at(address);
            (machine.key, machine.hardware.and_then(|hardware| hardware.mac()))
        });
    }
}

/// Files what was laid down a moment after the first of it was, for ever.
pub async fn keep(shared: Arc<Shared>) {
    loop {
        shared.recorder.laid.notified().await;
        sleep(RECORDER_FILE_INTERVAL).await;
        let shared = Arc::clone(&shared);
        // It ends early only where the process does.
        let _ = tokio::task::spawn_blocking(move || shared.file_packets()).await;
    }
}

/// A panic under the lock leaves packets that are as good as before.
fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> MachineKey {
        MachineKey::Host("r1u07".parse().unwrap())
    }

    fn observed<'a>(owner: PacketOwner<'a>, bytes: &'a [u8]) -> ObservedPacket<'a> {
        ObservedPacket {
            owner,
            kind: PacketKind::Tftp,
            at: Duration::from_secs(7),
            is_ours: false,
            from: "192.0.2.9:2070".parse().unwrap(),
            to: "192.0.2.1:69".parse().unwrap(),
            mac: None,
            interface: None,
            bytes,
            length: bytes.len(),
        }
    }

    fn files(recorder: &Recorder) -> Vec<RecordedPacket> {
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 7]));
        recorder.file(|_| (host(), mac));
        lock(&recorder.rings).of(&[host()])
    }

    #[test]
    fn a_packet_is_filed_under_who_has_its_address_then() {
        let recorder = Recorder::default();
        recorder.resize(1024 * 1024);
        let key = host();
        let address = Ipv4Addr::new(192, 0, 2, 9);
        assert!(recorder.lay(&observed(PacketOwner::At(address), b"one")));
        assert!(recorder.lay(&observed(PacketOwner::Machine(&key), b"another")));
        let kept = files(&recorder);
        let bytes: Vec<&[u8]> = kept.iter().map(|packet| &*packet.bytes).collect();
        assert_eq!(bytes, [&b"one"[..], b"another"]);
        assert_eq!((kept[0].mac, kept[1].mac), (Some(MacAddr([2, 0, 0, 0, 0, 7])), None));
        assert!(!recorder.is_any_laid.load(Ordering::Relaxed));
    }

    #[test]
    fn nobody_waits_for_a_tray_in_use_and_what_finds_no_room_is_refused() {
        let recorder = Recorder::default();
        recorder.resize(64 * 1024 * 1024);
        let key = host();
        let packet = observed(PacketOwner::Machine(&key), &[7; 1024]);
        let held: Vec<_> = recorder.trays.iter().skip(1).map(lock).collect();
        let of_one = (0..RECORDER_TRAY_PACKETS).take_while(|_| recorder.lay(&packet)).count();
        assert_eq!(of_one, RECORDER_TRAY_BYTES / 1024);
        assert!(!recorder.lay(&packet));
        drop(held);
        assert!(recorder.lay(&packet), "another has room");
        assert!(files(&recorder).len() > 100);
        assert!(recorder.lay(&packet), "and once all is filed, so has the first");
    }

    #[test]
    fn one_that_is_switched_off_forgets_and_takes_no_memory() {
        let recorder = Recorder::default();
        assert!(!recorder.is_on());
        let key = host();
        let packet = observed(PacketOwner::Machine(&key), b"one");
        assert!(!recorder.lay(&packet));
        recorder.resize(1024 * 1024);
        assert!(recorder.is_on() && recorder.lay(&packet));
        assert_eq!(files(&recorder).len(), 1);
        assert!(recorder.lay(&packet));
        recorder.resize(0);
        assert_eq!(files(&recorder), []);
        assert!(lock(&recorder.spare).bytes.capacity() == 0);
    }

    #[test]
    fn a_long_packet_is_cut_and_its_length_kept() {
        let recorder = Recorder::default();
        recorder.resize(1024 * 1024);
        let key = host();
        assert!(recorder.lay(&observed(PacketOwner::Machine(&key), &[0; 9000])));
        let kept = files(&recorder);
        assert_eq!((kept[0].bytes.len(), kept[0].length), (RECORDED_PACKET_BYTES_MAX, 9000));
    }
}
