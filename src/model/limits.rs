//! Every bound of the daemon in one place, with its unit in its name.
//!
//! The defaults hold 10,000 machines. What bites is counted where it bites.

mod deploy;
mod dhcp;
mod doctor;
mod edited;
mod generations;
mod http;
mod images;
mod installs;
mod recorder;
mod syslog;
mod tftp;

pub use deploy::*;
pub use dhcp::*;
pub use doctor::*;
pub use edited::*;
pub use generations::*;
pub use http::*;
pub use images::*;
pub use installs::*;
pub use recorder::*;
use std::time::Duration;
pub use syslog::*;
pub use tftp::*;

/// How long a start waits for the lock of the state's folder: another daemon holds it for longer.
pub const STORE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
pub const STORE_LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Arenas of the C library's allocator, each of which grows to the largest reload or answer that was ever made in
/// it (`daemon::memory`). With one, threads wait for each other: a quarter fewer scripts went out by HTTP than with
/// two. With sixteen there were no more than with two.
pub const ALLOCATOR_ARENAS_MAX: usize = 2;
/// Free bytes that it keeps at the end of an arena, and the size from which memory goes back to the system at once.
pub const ALLOCATOR_KEPT_BYTES: usize = 1024 * 1024;
/// The largest DHCP payload we send: EDK2 drops larger offers (PROTOCOL: "never over 1472").
pub const DHCP_REPLY_BYTES_MAX: usize = 1472;
/// Bytes of one option of a reply, which goes out in pieces of 255 (RFC 3396): beside it there is room for
/// what no client can do without.
pub const DHCP_OPTION_BYTES_MAX: usize = 1024;
/// Replies are padded to this: BOOTP's minimum, which relays and old firmware insist on.
pub const DHCP_REPLY_BYTES_MIN: usize = 300;
/// The largest DHCP payload we read; one Ethernet jumbo frame.
pub const DHCP_REQUEST_BYTES_MAX: usize = 9216;
/// Bytes of a client identifier (option 61) that a host may be listed by: what one option holds.
pub const CLIENT_ID_BYTES_MAX: usize = 255;
/// How long what a client sent in its DISCOVER counts for the REQUEST of the same exchange: EDK2 asks at
/// 4, 8, 16 and 32 s.
pub const EXCHANGE_TTL: Duration = Duration::from_secs(60);
/// Exchanges of one socket whose client's words are remembered.
pub const EXCHANGES_MAX: usize = 12_000;
/// Bytes of a client's words (options 60, 77 and 93 together) that are remembered for its REQUEST. Firmware
/// says some 40; who says more is not remembered at all.
pub const EXCHANGE_CLASSES_BYTES_MAX: usize = 512;
/// User classes (option 77) among them.
pub const EXCHANGE_USER_CLASSES_MAX: usize = 8;
/// Addresses on one interface that the kernel does not know the MAC of and is made to ask for in a second:
/// while it asks, for three seconds each, their datagrams take room of the socket and of the kernel's table.
pub const ARP_REQUESTS_PER_S: u32 = 64;
/// Routers and relays that the inventory names and that are asked for besides in a second, each once.
pub const ROUTER_ARP_REQUESTS_PER_S: usize = 64;
/// How long a neighbour that the kernel knew is taken to be known.
pub const NEIGHBOUR_TTL: Duration = Duration::from_secs(10);
/// Such neighbours of one interface that are remembered.
pub const NEIGHBOURS_MAX: usize = 1024;
/// When it is looked whether such an address answered: the kernel asks three times, a second apart.
pub const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(4);
/// Events that wait for one listener; who falls behind by more loses the oldest. A storm of a thousand machines
/// has some 4,000 events in a second.
pub const EVENTS_QUEUE_MAX: usize = 8192;
/// A machine in its boot that was silent for so long was started anew: the longest that firmware and loaders wait
/// between two requests is some minutes.
pub const ATTEMPT_SILENCE: Duration = Duration::from_secs(300);
/// The same of one that was told to boot its disk: firmware that repeats itself waits 32 s at most.
pub const ATTEMPT_DISK_SILENCE: Duration = Duration::from_secs(60);
/// What a system asks for belongs to the attempt that started it for so long.
pub const ATTEMPT_OPEN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bits that tell of a machine whether its boot is followed; 10,000 machines take one of seven of them, so that of
/// those that are in no boot so many are taken for one that is.
pub const FOLLOWED_SLOTS: usize = 65_536;
/// Entries that are read from the store at a time, where what is read may be much.
pub const STORE_PAGE_ENTRIES: usize = 256;
/// How long attempts are kept.
pub const ATTEMPT_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Attempts of hosts that are kept: of 10,000 machines ten each. Of one that rests its machine's name and its number are in
/// memory; on disk each takes some 1 kB.
pub const ATTEMPTS_KEPT_MAX: usize = 100_000;
/// Attempts of unlisted machines that are kept.
pub const ATTEMPTS_UNLISTED_MAX: usize = 1_000;
/// Attempts of one machine that are kept: one that is started again and again takes no other's place.
pub const ATTEMPTS_PER_MACHINE_MAX: usize = 100;
/// Attempts that wait for a disk that refuses everything to be removed from it; what is more is removed after the next
/// start.
pub const ATTEMPTS_DROPPED_MAX: usize = ATTEMPTS_KEPT_MAX;
/// Steps of an attempt that are kept.
pub const ATTEMPT_STEPS_MAX: usize = 48;
/// How far back a step is looked for that a new one repeats.
pub const ATTEMPT_STEP_WINDOW: usize = 6;
/// Bytes of a text of a step: a path, a reason's sentence.
pub const ATTEMPT_TEXT_BYTES_MAX: usize = 240;
/// Bytes of one attempt as JSON: all its steps with texts that are escaped throughout are a fifth of that.
pub const ATTEMPT_JSON_BYTES_MAX: u64 = 1024 * 1024;
/// Attempts that are written in one commit.
pub const ATTEMPTS_PER_COMMIT_MAX: usize = 256;
/// How often attempts that changed are written: after a crash, at most so much of a timeline is missing. Each is
/// written whole, and in a storm of a thousand machines that was most of what attempts cost at one second.
pub const ATTEMPTS_COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Events are gathered for so long before attempts, and the last events that are kept for people, take them in.
pub const ATTEMPTS_GATHER_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is logged that attempts can't be written.
pub const ATTEMPTS_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long an end waits for the last attempts to be written.
pub const ATTEMPTS_END_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an address that was offered and not requested stays set aside.
pub const OFFER_TTL: Duration = Duration::from_secs(30);
/// Addresses of a pool that are a client's own first choice, by its hardware address, before it is offered the
/// next one that no client ever had.
pub const OFFER_CANDIDATES: u8 = 8;
/// An offer that is younger is not taken back for another machine at the same attachment point: EDK2
/// gathers offers for 4 s before it takes one.
pub const OFFER_EVICTION_AGE_MIN: Duration = Duration::from_secs(10);
/// Offers of one pool that strangers at one interface or behind one relay may hold at once: a whole
/// room that powers on.
pub const OFFERS_PER_INTERFACE_MAX: usize = 12_000;
/// The same at one switch port, where option 82 tells it: a rack behind a switch of its own.
pub const OFFERS_PER_SWITCH_PORT_MAX: usize = 128;
/// How often an attachment point that holds too many offers is logged.
pub const OFFER_QUOTA_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long an address that a client declined stays out of use.
pub const DECLINE_QUARANTINE: Duration = Duration::from_secs(600);
/// A host's clock that is further from where it should be was set, and did not only drift: the seconds on
/// disk are whole ones.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(2);
/// How often it is looked whether the clock was set, where no machine asks.
pub const CLOCK_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often the date is written beside the leases: a start after a reboot takes no clock for right that is
/// behind it.
pub const CLOCK_MARK_INTERVAL: Duration = Duration::from_secs(60);
/// The longest lease that is given or put back after a restart: a year.
pub const LEASE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long it counts at which switch port a host was given its address, where nothing tells for how long it
/// has that: by another server, or by BOOTP. A boot with a slow installation is over by then.
pub const PORT_BINDING_TTL: Duration = Duration::from_secs(4 * 3600);
/// Addresses of hosts with a `port` for which it is remembered at which switch port they were given.
pub const PORT_BINDINGS_MAX: usize = 32_768;
/// Of those that ended, how many make room at once where there is none: each is a change on its way to the disk.
pub const PORT_BINDINGS_EVICTED_AT_ONCE: usize = 256;
/// Changes of what is remembered of switch ports that are handed to the disk once more, at once.
pub const PORT_CHANGES_RETRIED_AT_ONCE: usize = 1024;
/// How long an answer to a probe is waited for: firmware asks again after a second (iPXE) or four (EDK2),
/// and must have its offer by then.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(400);
/// From the first packet of a probe to the second: one may be lost.
pub const PROBE_RETRY_INTERVAL: Duration = Duration::from_millis(150);
/// An offer that waits longer for its probe than this waits in vain: the probe is made anew.
pub const PROBE_RESULT_TTL: Duration = Duration::from_secs(2);
/// Addresses that are probed for one DISCOVER, one after the other, while each turns out to be in use.
pub const PROBES_PER_REQUEST_MAX: u32 = 3;
/// Probes under way at once on one interface; beyond them offers go out without one.
pub const PROBES_MAX: usize = 1024;
/// How long a machine that was acknowledged as firmware or iPXE is taken to be in its boot, unless its
/// system asks before: slow firmware takes minutes over a loader.
pub const BOOT_TTL: Duration = Duration::from_secs(600);
/// How long an IPv6 router may take to answer a solicitation: half a second (RFC 4861), and then some.
pub const ROUTER_PROBE_TIMEOUT: Duration = Duration::from_millis(600);
/// Seconds before each question for an IPv6 router as a link comes up: a switch may forward nothing in its first half
/// minute, and a router may start with it.
pub const ROUTER_PROBE_PAUSES_S: [u64; 4] = [0, 3, 6, 26];
/// How old our last question for an IPv6 router may be when a machine asks for one: of an older one another is made, which
/// the machine does not wait for.
pub const ROUTER_PROBE_TTL: Duration = Duration::from_secs(60);
/// How long an IPv6 router that was heard is taken to be there: none is silent for longer (RFC 4861).
pub const ROUTER_TTL: Duration = Duration::from_secs(1800);
/// Machines of one interface that wait for the answer to that question, and those that asked before they had their ACK.
pub const ROUTER_WAITING_MAX: usize = 4096;
/// Milliseconds before each look whether who asked for one is in its boot by now: iPXE asks before its ACK, and then
/// only after a quarter of a second.
pub const EARLY_SOLICITOR_LOOKS_MS: [u64; 4] = [20, 80, 200, 700];
/// Declines of one host's own address that are no longer than this apart are one row, which is logged once.
pub const CONFLICT_DECLINE_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How often such a row is logged again while it goes on.
pub const CONFLICT_LOG_INTERVAL: Duration = Duration::from_secs(600);
/// How often an exhausted pool is logged, whatever asks for it.
pub const POOL_EXHAUSTED_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How often another DHCP server on the wire is named in the log.
pub const ROGUE_SERVER_LOG_INTERVAL: Duration = Duration::from_secs(600);
/// Other DHCP servers that are named on one wire in that time; only a liar invents more.
pub const ROGUE_SERVERS_MAX: usize = 16;
/// How often it is logged that there are more.
pub const ROGUE_SERVERS_OVERFLOW_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// At most one address in so many of a pool is kept for listed hosts without an address.
pub const POOL_RESERVE_DIVISOR: u64 = 4;
/// Lease changes from which on a durable commit takes no more.
pub const LEASES_PER_COMMIT_MAX: usize = 1024;
/// From the start of one durable commit to the start of the next, so that leases share them.
pub const LEASE_COMMIT_INTERVAL: Duration = Duration::from_millis(5);
/// A durable commit that takes longer is logged: clients retransmit meanwhile.
pub const LEASE_COMMIT_SLOW: Duration = Duration::from_secs(1);
/// How often a slow disk is logged.
pub const LEASE_COMMIT_SLOW_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of the store's journal, from which on it moves to the database: 4,400 leases, because those
/// that are committed meanwhile wait, and leave in one burst.
pub const STORE_JOURNAL_BYTES_MAX: u64 = 256 * 1024;
/// How long a machine whose lease runs waits for the disk to take a later end, before it is told the
/// one that stands there: shorter than clients wait before they ask again.
pub const LEASE_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often those that wait for a slow disk are looked at.
pub const LEASE_WRITE_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Lease changes that may wait for the store before new dynamic leases are refused.
pub const LEASE_QUEUE_MAX: usize = 16_384;
/// Bytes written in the background, from which on a durable commit takes no more: a lease that comes meanwhile waits
/// for it, about as long as the disk takes anyway.
pub const STORE_BACKGROUND_BYTES_PER_COMMIT: usize = 64 * 1024;
/// How long such bytes wait at most for a commit of their own while leases always wait.
pub const STORE_BACKGROUND_WAIT: Duration = Duration::from_millis(100);
/// Such bytes that may wait for the store before more are refused.
pub const STORE_BACKGROUND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Writes that wait for one who watches a prefix of the store, before the oldest are dropped.
pub const STORE_WATCH_WRITES_MAX: usize = 1024;

/// Threads of the event loop that wait for disks: TFTP's, and those for operators' answers and reloads. Each takes
/// 12 KiB, and is gone ten seconds after a burst. HTTP has others (`HTTP_DISK_THREADS_MAX`).
pub const DISK_THREADS_MAX: usize = 512;

/// The largest file that is kept completely in memory while machines fetch it: any loader.
pub const HOT_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all such files.
pub const HOT_FILES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Machines behind one address: more than any rack, or any row of them, has.
pub const MACHINES_PER_ADDRESS_MAX: usize = 1024;

/// How long after a restart a reservation alone makes an address its host's: as long as a boot may take that began
/// before. Anybody may set the address of a host that is off.
pub const RESERVATION_TRUSTED: Duration = Duration::from_secs(15 * 60);
/// Addresses that no client was given by DHCP get one in so many of all places together: TFTP transfers,
/// HTTP connections, image files on their way, and those who wait for one.
pub const UNKNOWN_CLIENTS_SHARE_DIVISOR: usize = 2;

/// Machines whose own words are remembered between the stages of a boot.
pub const IDENTITY_CACHE_MAX: usize = 32_768;

/// Rows about firmware that are read; every request is held against each.
pub const QUIRKS_MAX: usize = 1000;

/// The same loader taken so often in a row, without a word as iPXE between, is a loop.
pub const LOADER_LOOP_TIMES: u32 = 3;
/// A loader that comes so long after the last one is the first of a new row: a server's self-test
/// takes minutes, and a person's next try may come much later.
pub const LOADER_LOOP_RESET: Duration = Duration::from_secs(3600);

/// Bytes of parameters that a kernel for x86, 64-bit ARM or POWER takes (COMMAND_LINE_SIZE of its asm/setup.h,
/// less the zero byte at its end).
pub const KERNEL_PARAMETERS_BYTES_MAX: usize = 2047;
/// The same of a kernel for 32-bit ARM or RISC-V.
pub const KERNEL_PARAMETERS_BYTES_MAX_ARM32_RISCV: usize = 1023;
/// The same of a kernel for LoongArch or IBM Z.
pub const KERNEL_PARAMETERS_BYTES_MAX_LOONGARCH_S390: usize = 4095;

/// How long running transfers may go on after SIGTERM.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often interfaces are looked at where the kernel does not tell of them, or one can't be served yet.
pub const INTERFACE_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long after one look at the interfaces, at the least, news of them bring the next: news come in numbers.
pub const INTERFACE_DEBOUNCE: Duration = Duration::from_millis(40);

/// Bytes of log lines that wait for whoever reads them: a storm of a thousand machines is 2 MiB. What comes
/// beyond is dropped and counted.
pub const LOG_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the end of the daemon waits for a reader of its log that takes nothing.
pub const LOG_FLUSH_STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits for one that takes little.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(8);
/// When a log whose file refuses lines is tried again.
pub const LOG_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a message to systemd that matters may wait for it; one for its watchdog waits for nothing.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// Operators' connections at once; beyond them whoever only holds one gives way.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// How often a newcomer that found no place looks for one that only is held.
pub const ADMIN_SLOT_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long an operator's connection may be silent: before its request is whole, and between requests.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an operator's client may take nothing of an answer that waits for it.
pub const ADMIN_WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of a stream that are made ahead of its reader.
pub const ADMIN_STREAM_QUEUE_MAX: usize = 256;
/// Lines of a stream that are sent in one write.
pub const ADMIN_STREAM_BATCH_MAX: usize = 64;
/// How long the command line waits for an answer, and between parts of it.
pub const ADMIN_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the command line waits for a change, such as a reload, on a machine that has much else to do.
pub const ADMIN_CHANGE_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest JSON object that the command line reads: an answer, or a line of one. The status with 1,000
/// transfers is 200 KB.
pub const ADMIN_RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// File descriptors we ask the system for: a socket and a file for every transfer and connection.
pub const OPEN_FILES_MAX: u64 = 65_536;

/// Bytes of an inventory that are read in one piece: some hundred hosts. A longer one is read by all processors.
pub const INVENTORY_PIECE_BYTES: usize = 64 * 1024;
/// Threads that read one inventory.
pub const INVENTORY_READERS_MAX: usize = 8;
/// Bytes of a word that may differ between hosts that are tried as one: longer ones are tried each.
pub const ALIKE_WORD_BYTES_MAX: usize = 64;
/// Folders on the way to a loader, its root among them.
pub const LOADER_DEPTH_MAX: usize = 8;
/// Files and folders beneath one folder of loaders.
pub const LOADER_FILES_MAX: usize = 20_000;
/// Bytes of a loader that are read to see what it loads; shims have one million.
pub const LOADER_INSPECTED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Symbolic links from a loader's name to its file.
pub const LOADER_LINKS_MAX: usize = 8;
/// Folders in an image's folder, one in the other, in which a changed artifact is seen.
pub const IMAGE_DEPTH_MAX: usize = 4;
/// Checksums kept over a restart, so that a file is read only once as long as it stays what it is.
pub const CHECKSUMS_KEPT_MAX: usize = 65_536;
/// Bytes of an artifact that are read and hashed in one go.
pub const VERIFY_PIECE_BYTES: usize = 1024 * 1024;
/// How fast artifacts that are known are read again, so that machines that boot do not feel it:
/// 24 GiB in 13 minutes.
pub const RECHECK_BYTES_PER_S: u64 = 32 * 1024 * 1024;
/// How often every artifact is read again where `recheck` does not say.
pub const RECHECK_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// When an artifact that could not be read is tried again.
pub const VERIFY_RETRY_INTERVAL: Duration = Duration::from_secs(600);
/// How often it is looked whether the time of some artifact has come.
pub const VERIFY_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// How often the log says how far the reading of a new artifact has come.
pub const VERIFY_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long a file must have been left alone before it is read: the system's times tell two writes
/// apart only where they are some milliseconds from each other.
pub const VERIFY_DEBOUNCE: Duration = Duration::from_millis(100);
/// How long the end of the daemon waits for the piece that is being read, of which a disk has hundreds a
/// second.
pub const VERIFY_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Machines of one storm.
pub const STORM_MACHINES_MAX: u32 = 10_000;
/// How long a storm may take.
pub const STORM_TIME_MAX: Duration = Duration::from_secs(3600);
/// Times that a machine of a storm that gave up is powered on again.
pub const STORM_POWER_CYCLES_MAX: u32 = 100;
/// How long such a machine stays off. Short, as all of a storm's fixed pauses are.
pub const STORM_POWER_CYCLE_PAUSE: Duration = Duration::from_secs(2);
/// The longest script that a storm's machine reads.
pub const STORM_SCRIPT_BYTES_MAX: usize = 1024 * 1024;
/// Lines of one iPXE script that are followed, so that one that goes round ends.
pub const IPXE_SCRIPT_STEPS_MAX: u32 = 1000;
/// Bytes that one line of such a script may become: one that goes round may double a setting each time.
pub const IPXE_LINE_BYTES_MAX: usize = 64 * 1024;
/// Scripts that a storm's machine follows from one to the next.
pub const STORM_SCRIPTS_MAX: u32 = 8;
/// How long a storm's machine waits for the next byte of HTTP: iPXE's own limit.
pub const STORM_HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Rendered scripts that are kept of one generation: those of machines that ask again.
pub const KEPT_TEXTS_MAX: usize = 2048;
/// Bytes of the longest script that is kept: all of them have 8 MiB at most, and are mostly a tenth of that.
pub const KEPT_TEXT_BYTES_MAX: usize = 4096;

/// Files that an explanation tells of one script.
pub const EXPLAINED_FILES_MAX: usize = 64;
/// Scripts that an explanation follows from one to the next.
pub const EXPLAINED_SCRIPTS_MAX: usize = 8;
/// Bytes that are kept of what iPXE calls a network card.
pub const CHIP_NAME_BYTES_MAX: usize = 64;
