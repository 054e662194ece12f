//! Why something happened, or did not: one row a reason, with its name, what it knows and its sentence.
//!
//! A reason is a value, and costs no more than that where it is made: under the lease table's lock, say. Its
//! sentence is made where somebody reads it: in the log, in option 56 of a NAK, in what TFTP and HTTP tell a client.

use super::{
    BootDecision, MachineKey, ReservationUnavailable,
    fault::{
        Ago, Escaped, FileFault, HttpFault, Near, NoOrder, NoOwnAddress, NotGivenThere, NotStored, PathFault,
        PortDoubt, SubnetSource, WaitEnd,
    },
};
use crate::boot::method::Methods;
use crate::lease::AttachmentPoint;
use crate::model::{CallbackDoubt, Cidr, Dialect, Name, limits::REQUEST_PATH_BYTES_MAX};
use crate::proto::dhcp::MalformedRequest;
use serde::Serialize;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4},
    sync::Arc,
};

macro_rules! reasons {
    ($($variant:ident $({ $($field:ident: $type:ty),* })? $name:literal $sentence:literal,)*) => {
        /// Why something happened, or did not, with what its sentence names.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(tag = "code")]
        #[expect(missing_docs, reason = "each field is what its row's sentence names")]
        pub enum Reason {
            $(#[doc = $sentence] #[serde(rename = $name)] $variant $({ $($field: $type),* })?,)*
        }

        /// A reason without what its sentence names: what is counted, and the log's field `reason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ReasonCode {
            $(#[doc = $sentence] $variant,)*
        }

        impl ReasonCode {
            /// Every one, in the table's order.
            pub const ALL: &[ReasonCode] = &[$(ReasonCode::$variant,)*];

            /// Its name in logs and metrics.
            pub fn name(self) -> &'static str {
                match self {
                    $(ReasonCode::$variant => $name,)*
                }
            }
        }

        impl Reason {
            /// Which one it is.
            pub fn code(&self) -> ReasonCode {
                match self {
                    $(Reason::$variant { .. } => ReasonCode::$variant,)*
                }
            }
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Reason::$variant $({ $($field),* })? => write!(f, $sentence),)*
                }
            }
        }
    };
}

reasons! {
    // DHCP: no answer.
    FromOurselves "from_ourselves" "it was sent from an address of this server",
    NoHardwareAddress "no_hardware_address"
        "it has neither a hardware address nor a client identifier to know it by",
    Unlisted { near: Near } "unlisted" "no host or rule names it{near}, and unknown machines are ignored",
    MessageType { kind: u8 } "message_type" "a message of type {kind} is not for a DHCP server",
    Malformed { source: SocketAddrV4, fault: MalformedRequest } "malformed"
        "a packet from {source} is no DHCP request: {fault}",
    PacketTooLong { source: SocketAddrV4 } "packet_too_long"
        "a packet from {source} is no DHCP request: longer than any DHCP packet",
    NoInterfaceAddress { source: SocketAddrV4, interface: Arc<str> } "no_interface_address"
        "interface {interface} has no address to answer {source} from",
    SubnetUnserved { address: Ipv4Addr, told_by: SubnetSource } "subnet_unserved"
        "no subnet of the inventory holds {address}, {told_by}",
    NoSubnetHere "no_subnet_here" "there is no subnet where it is",
    ProbePending { address: Ipv4Addr } "probe_pending" "its offer waits until {address} is probed",
    ProbeUndecided { address: Ipv4Addr } "probe_undecided" "the probe of {address} ended without an offer to it",
    RequestNamesNone "request_names_none" "a REQUEST that names no address (option 50 or ciaddr)",
    ReleaseNamesNone "release_names_none" "a RELEASE that names no address (ciaddr)",
    DeclineNamesNone "decline_names_none" "a DECLINE that names no address (option 50)",
    InformNamesNone "inform_names_none" "an INFORM that names no address (ciaddr)",
    LeaseUnknown { address: Ipv4Addr } "lease_unknown" "it claims a lease of {address} that is unknown here",
    ReleaseToOther { server: Ipv4Addr } "release_to_other" "it releases a lease of another DHCP server, {server}",
    DeclineToOther { server: Ipv4Addr } "decline_to_other" "it declines an address of another DHCP server, {server}",
    ReleaseNotHeld { address: Ipv4Addr } "release_not_held" "it releases {address}, which it does not hold",
    DeclineNotHeld { address: Ipv4Addr } "decline_not_held" "it declines {address}, which it does not hold",
    InformElsewhere { address: Ipv4Addr, subnet: Cidr } "inform_elsewhere"
        "its address {address} is not in {subnet}, where it is now",
    BootpTaken { address: Ipv4Addr, why: ReservationUnavailable } "bootp_taken"
        "it is plain BOOTP, and its address {address} {why}",
    BootpUnreserved "bootp_unreserved" "it is plain BOOTP, and no address is reserved for it",
    NoPool { own: NoOwnAddress, subnet: Cidr } "no_pool" "{own}, and {subnet} has no pool",
    PoolUsedUp { own: NoOwnAddress, subnet: Cidr } "pool_used_up" "{own}, and the pool of {subnet} is used up",
    OfferQuota { port: Arc<AttachmentPoint>, offers: usize } "offer_quota"
        "{offers} offers to other machines at its attachment point ({port}) are not taken: possible DHCP starvation",
    ProxyRequest "proxy_request" "its address is another DHCP server's to give",
    ProxyOther "proxy_other" "it is for the DHCP server that gives the addresses here",
    ProxyPxelinux "proxy_pxelinux"
        "firmware that reads pxelinux.cfg itself takes one offer for all, and in proxy mode no address is given: let the \
         DHCP server name this one as its next server (siaddr)",
    ProxyNothing { boot: BootDecision } "proxy_nothing" "in proxy mode only boot files are offered, and it boots {boot}",
    PxePortKind "pxe_port_kind" "port 4011 answers requests for a boot file only",
    PxePortNothing { boot: BootDecision } "pxe_port_nothing"
        "port 4011 is for boot files, and this machine loads none: {boot}",
    // DHCP: refused (NAK).
    OwnAddressOther { own: Ipv4Addr, asked: Ipv4Addr } "own_address_other" "its address is {own}, not {asked}",
    OwnAddressInUse { own: Ipv4Addr, why: ReservationUnavailable } "own_address_in_use" "its address {own} {why}",
    AddressElsewhere { address: Ipv4Addr, subnet: Cidr } "address_elsewhere"
        "{address} is not in {subnet}, where it is now",
    NotInPool { address: Ipv4Addr, subnet: Cidr } "not_in_pool" "{address} is in no pool of {subnet}",
    HeldByAnother { address: Ipv4Addr } "held_by_another" "{address} is held by another machine",
    // DHCP: the wrong switch port.
    OtherPort { own: Arc<str>, seen: Escaped } "other_port"
        "it belongs to the switch port {own} and asks from {seen}",
    OtherPortVlan { own: Arc<str>, seen: Escaped } "other_port_vlan"
        "it belongs to the switch port {own} and asks from {seen}, which is a VLAN and no port: the switch must say \
         the port in option 82",
    PortDoubted { own: Arc<str>, doubt: PortDoubt } "port_doubted"
        "it belongs to the switch port {own}, and the port in its request is not trusted: {doubt}",
    PortNotRenewed { own: Arc<str>, address: Ipv4Addr } "port_not_renewed"
        "it belongs to the switch port {own}, and no relay or switch says where it is (option 82); {address} was not \
         given to it at that port, or too long ago, or a machine with its MAC was seen at another port since: it must \
         ask anew (DHCP) from there",
    PortUntold { own: Arc<str> } "port_untold"
        "it belongs to the switch port {own}, and no relay or switch says where it is (option 82)",
    // DHCP: the reply was not sent.
    LeaseNotStored { error: NotStored } "lease_not_stored" "its lease is not on disk: {error}",
    LeaseQueueFull { error: NotStored } "lease_queue_full" "{error}",
    // Paths and requests.
    BadPath { fault: PathFault } "bad_path" "{fault}",
    PathTooLong { bytes: usize } "path_too_long"
        "the path has {bytes} bytes, and {REQUEST_PATH_BYTES_MAX} are served at most",
    WrongMethod { method: Arc<str>, path: Arc<str>, taken: Methods } "wrong_method"
        "{method} {path}: only {taken} served",
    BodyTooLarge { max: usize } "body_too_large" "its body is longer than the {max} bytes that its path takes",
    BodyTooSlow "body_too_slow" "its body did not come in time",
    BodyBroken { error: Arc<str> } "body_broken" "its body can't be read: {error}",
    ChangeNotStored { error: NotStored } "change_not_stored" "what it is to change is not on disk: {error}",
    NotHttp { fault: HttpFault, begins: Arc<str> } "not_http" "{fault}; it begins `{begins}`",
    ReadOnly "read_only" "this server is read-only",
    NetasciiFile "netascii_file" "netascii is for texts; ask for a file in octet (binary) mode",
    UnknownMode "unknown_mode" "unknown mode; use octet (binary) mode",
    // Loaders, scripts, answers.
    LoaderMissing { file: Arc<str> } "loader_missing" "no folder of paths.loaders has {file}",
    LinkUnfollowed { file: Arc<str>, why: Arc<str> } "link_unfollowed"
        "{file} is a symbolic link that is not followed: {why}",
    ScriptForm { script: Name, dialect: Dialect, extension: &'static str } "script_form"
        "script {script} is not written for {dialect}: the folder of scripts has no {script}.{extension}",
    AnswerOfAnother { machine: Arc<str>, peer: IpAddr, holder: MachineKey } "answer_of_another"
        "the answer is for {machine}, and {peer} is {holder}",
    InstallOfAnother { host: Name, peer: IpAddr, holder: MachineKey } "install_of_another"
        "{host} is armed, and its install goes to its own address alone: {peer} is {holder}",
    OtherHardware { host: Name, mismatch: super::Mismatch } "other_hardware"
        "{host} is armed, and this is not the machine that the inventory lists, though it has its NIC or its name: \
         {mismatch}. Correct the inventory if it is, and arm the host again",
    CallbackRefused { peer: IpAddr, why: CallbackDoubt } "callback_refused"
        "a callback from {peer} is refused, and was told nothing of why: {why}",
    DisksUnread { peer: IpAddr } "disks_unread"
        "what {peer} tells of its disks can't be read: it is neither a list of them nor what lsblk -J prints",
    OrderRefused { peer: IpAddr, why: CallbackDoubt } "order_refused"
        "an order that {peer} asks for is refused, and it was told nothing of why: {why}",
    NoOrder { host: Name, why: NoOrder } "no_order" "nothing can be written to the disk of {host}: {why}",
    AnswerAddressFamily { machine: Arc<str>, peer: Ipv6Addr } "answer_address_family"
        "the answer is for {machine}, and {peer} is an IPv6 address: a machine is known by its lease or its reservation, \
         which are of IPv4, so it must ask over IPv4",
    AnswerToNobody { machine: Arc<str>, peer: Ipv4Addr } "answer_to_nobody"
        "the answer is for {machine}, and {peer} is nobody's address: no lease and no reservation. Through a NAT no \
         answer is to be had: none may stand between a machine and this server",
    FactsOfAnother { machine: Arc<str>, peer: IpAddr } "facts_of_another"
        "the answer is for {machine}, and the installer at {peer} has none of its MAC addresses",
    AnswerNotNow { machine: Arc<str>, why: super::DiskReason } "answer_not_now" "{machine} gets no answer: {why}",
    AnswerUnlisted { machine: Arc<str> } "answer_unlisted"
        "{machine} is not in the inventory, or has not sent since the start what a rule matches on",
    AnswerUnnamed { machine: Arc<str> } "answer_unnamed" "{machine} has no answer in the inventory",
    MetadataMissing "metadata_missing" "its metadata has no such thing",
    AnswerFileMissing { answer: Name, files: Arc<str> } "answer_file_missing" "answer {answer} has the files {files}",
    NotAtItsPort { host: Name, port: Arc<str>, why: NotGivenThere } "not_at_its_port"
        "{host} belongs to the switch port {port}, and {why}",
    TemplateFailed { error: Arc<str> } "template_failed" "{error}",
    RenderOverlong { within_s: u64, pause_s: u64 } "render_overlong"
        "rendering it came to no end within {within_s} s, and it is left alone for {pause_s} s",
    RenderNoThread "render_no_thread" "no thread was free to render it",
    RenderBroke "render_broke" "rendering it broke; this is a bug of bootwright",
    // Image files.
    ImageMissing { image: Arc<str> } "image_missing" "no image is called {image}",
    ArtifactMissing { image: Arc<str>, file: Arc<str> } "artifact_missing" "image {image} has no artifact {file}",
    Unverified { image: Name, file: Arc<str>, done: u64, of: u64 } "unverified"
        "image {image}/{file} is being verified, {done} of {of} bytes",
    ArtifactWrong { image: Name, file: Arc<str> } "artifact_wrong"
        "image {image}/{file} is not served: its bytes are not those of its sha256; see `bootwright status`",
    ArtifactUnreadable { image: Name, file: Arc<str>, error: Arc<str> } "artifact_unreadable"
        "image {image}/{file} is not served: {error}",
    TooManyUnderWay "too_many_under_way" "too many image files are on their way",
    TooManyWait "too_many_wait" "too many wait already",
    // Files and transfers.
    FileMissing "file_missing" "no such file",
    FileUnsafe { fault: FileFault } "file_unsafe" "{fault}",
    FileChanged "file_changed" "the file changed since its checksum was verified",
    FileWrong "file_wrong" "the file's bytes are not those of its checksum any more",
    FileChangedMeanwhile "file_changed_meanwhile" "the file changed while it was sent",
    FileNotInTime "file_not_in_time" "its turn did not come in time",
    FileUnreadable { error: Arc<str> } "file_unreadable" "the file can't be read: {error}",
    FileIsAnother "file_is_another" "the file is another",
    NoSuchBytes "no_such_bytes" "the file has no such bytes",
    DiskBusy "disk_busy" "the disk is still busy with what this machine asked for before",
    ClientGaveUp { had: u64, length: u64, error_code: u16, message: Escaped } "client_gave_up"
        "the client gave up after {had} of {length} bytes: error {error_code} {message}",
    ClientSilent { had: u64, length: u64, ago: Ago } "client_silent"
        "the client fell silent after {had} of {length} bytes, {ago}",
    ConnectionEnded { had: u64, length: u64 } "connection_ended"
        "the connection ended when {had} of {length} bytes had been sent",
    ClientGone { had: u64, length: u64 } "client_gone"
        "when {had} of {length} bytes had been sent, its client's machine acknowledged nothing any more: it was switched off, \
         or cut off",
    ClientStalled { had: u64, length: u64 } "client_stalled"
        "its client took too little of it in its time: {had} of {length} bytes had been sent",
    GaveWay "gave_way" "its address was not assigned by DHCP, and its place was needed for one that was",
    WaitEnded { by: WaitEnd, waited_s: u64 } "wait_ended" "{by} after it had waited {waited_s} s for its turn",
    NeverHeard "never_heard" "its client never answered, and another client needs the place",
    // No place.
    TransfersFull "transfers_full" "too many transfers under way",
    TransfersFullForOne { own: usize } "transfers_full_for_one"
        "{own} transfers to its address are under way, as many as one may have",
    RequestQueueFull "request_queue_full" "too many requests wait to be taken",
    ConnectionsFull "connections_full" "no more connections can be open at once",
    ConnectionsFullForOne { own: usize } "connections_full_for_one"
        "its address has {own} connections already, as many as one may have",
    ConnectionsFullForUnknown "connections_full_for_unknown"
        "connections from addresses that DHCP did not assign are at their limit",
}

impl Reason {
    /// What a client is told. Who guesses at tokens learns nothing of what is wrong with them.
    pub fn to_client(&self) -> String {
        match self {
            Reason::CallbackRefused { .. } | Reason::OrderRefused { .. } => "refused".to_owned(),
            other => other.to_string(),
        }
    }

    /// The subnet whose pool has no address.
    pub fn subnet(&self) -> Option<Cidr> {
        match self {
            Reason::PoolUsedUp { subnet, .. } | Reason::NoPool { subnet, .. } => Some(*subnet),
            _ => None,
        }
    }

    /// The switch port from which a request came that belongs to another.
    pub fn seen_port(&self) -> Option<&Escaped> {
        match self {
            Reason::OtherPort { seen, .. } | Reason::OtherPortVlan { seen, .. } => Some(seen),
            _ => None,
        }
    }

    /// In a word what came in place of an HTTP request, or what kept a change from the disk.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Reason::NotHttp { fault, .. } => Some(fault.name()),
            _ => self.not_stored().map(|error| error.fault.name()),
        }
    }

    /// What kept a change from the disk.
    pub fn not_stored(&self) -> Option<&NotStored> {
        match self {
            Reason::LeaseNotStored { error } | Reason::LeaseQueueFull { error } | Reason::ChangeNotStored { error } => {
                Some(error)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_reasons_have_one_name() {
        let names: BTreeSet<&str> = ReasonCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), ReasonCode::ALL.len());
        let is_plain = |name: &str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
        assert!(names.into_iter().all(is_plain));
    }

    #[test]
    fn a_reason_is_sent_on_under_its_name_and_with_its_fields() {
        let reason = Reason::NotInPool {
            address: Ipv4Addr::new(192, 0, 2, 7),
            subnet: "192.0.2.0/24".parse().unwrap(),
        };
        let expected = serde_json::json!({"code": "not_in_pool", "address": "192.0.2.7", "subnet": "192.0.2.0/24"});
        assert_eq!(serde_json::to_value(&reason).unwrap(), expected);
        assert_eq!(reason.code().name(), "not_in_pool");
        assert_eq!(reason.to_string(), "192.0.2.7 is in no pool of 192.0.2.0/24");
    }
}
