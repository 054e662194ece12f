//! What the servers count. A new counter is one row of the table.

use crate::boot::event::ReasonCode;
use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

macro_rules! counters {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $doc] $variant,)*
        }

        impl Counter {
            const ALL: &[Counter] = &[$(Counter::$variant,)*];

            /// The name, as metrics show it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Counter::$variant => $name,)*
                }
            }

            /// What is counted, in a sentence.
            pub fn help(self) -> &'static str {
                match self {
                    $(Counter::$variant => $doc,)*
                }
            }
        }
    };
}

counters! {
    DhcpReceived "dhcp_received" "DHCP packets read from a socket.",
    DhcpMalformed "dhcp_malformed" "DHCP packets that can't be read as a request.",
    DhcpIgnored "dhcp_ignored" "DHCP requests that got no answer, by decision.",
    DhcpWrongPort "dhcp_wrong_port" "DHCP requests of hosts that asked from a switch port that is not theirs.",
    DhcpPoolExhausted "dhcp_pool_exhausted" "DHCP requests left unanswered because their subnet's pool was used up.",
    DhcpOfferQuota "dhcp_offer_quota" "DHCP requests from an attachment point with too many untaken offers: ignored, or served with the oldest of them.",
    DhcpReservationUnavailable "dhcp_reservation_unavailable" "Times that a host was given another address than its own: it asked from another subnet, or another interface of it has that address.",
    DhcpReservationConflict "dhcp_reservation_conflict" "DHCPDECLINEs by a host of the address that is reserved for it.",
    DhcpProbed "dhcp_probed" "Addresses probed, before they were offered or after a DHCPDECLINE.",
    DhcpProbeConflict "dhcp_probe_conflict" "Probed addresses that another machine uses: put out of use.",
    DhcpProbeSkipped "dhcp_probe_skipped" "Probes skipped: too many were under way, or it could not be sent.",
    DhcpRogueServer "dhcp_rogue_server" "Signs of other DHCP servers: their replies on our interfaces, and machines that took their offers.",
    DhcpNoAddress "dhcp_no_address" "DHCP requests ignored because the interface has no address.",
    DhcpReplied "dhcp_replied" "DHCP replies handed to the kernel, those included that are counted in dhcp_unresolved some seconds later.",
    DhcpSendFailed "dhcp_send_failed" "DHCP replies that the kernel did not take.",
    DhcpSendBufferFull "dhcp_send_buffer_full" "DHCP replies dropped because the kernel had no room for them: none is waited for.",
    DhcpUnresolved "dhcp_unresolved" "DHCP replies to addresses that no machine answers ARP for: sent in vain (counted in dhcp_replied too), or dropped because too many such addresses were tried.",
    DhcpFrameFallback "dhcp_frame_fallback" "DHCP replies broadcast because a frame could not be sent.",
    DhcpQueueFull "dhcp_queue_full" "DHCP replies dropped because too many lease changes waited for the store.",
    DhcpAckShortened "dhcp_ack_shortened" "DHCP leases acknowledged with the end that is on disk already, because the store did not take a later one in time.",
    DhcpStoreFailed "dhcp_store_failed" "DHCP replies dropped because their lease change did not become durable.",
    RouterAbsenceAdvertised "router_absence_advertised" "Router solicitations of booting machines that were answered: no IPv6 router is here.",
    RouterPresent "router_present" "Router solicitations of booting machines that were left to the IPv6 router that advertises there.",
    RouterIgnored "router_ignored" "Router solicitations ignored: of installed systems and unknown machines.",
    RouterFull "router_full" "Router solicitations of booting machines dropped because too many waited.",
    RouterSendFailed "router_send_failed" "IPv6 packets that the kernel did not take.",
    AttemptEventsMissed "attempt_events_missed" "Events that no attempt took in: too many happened at once.",
    RecorderDropped "recorder_dropped" "Packets of boots that the flight recorder did not keep: too many came at once.",
    LoaderLoops "loader_loops" "Alarms of a machine that took the same loader three times in a row and never asked for its script.",
    SyslogReceived "syslog_received" "Datagrams read from the syslog port.",
    SyslogEmpty "syslog_empty" "Datagrams on the syslog port without any text.",
    SyslogUnknown "syslog_unknown" "Log lines from addresses that no machine is known to have: not kept.",
    SyslogOmitted "syslog_omitted" "Log lines not kept because their machine, or too many machines, logged more at once.",
    TftpReceived "tftp_received" "Packets read from the TFTP port.",
    TftpMalformed "tftp_malformed" "Packets on the TFTP port that can't be read as a request.",
    TftpUnanswerable "tftp_unanswerable" "Packets on the TFTP port that must not be answered: replies, errors, and other servers' source ports.",
    TftpRefused "tftp_refused" "TFTP requests refused with an error.",
    TftpDuplicate "tftp_duplicate" "TFTP requests repeated while their transfer was under way.",
    TftpFull "tftp_full" "TFTP requests left unanswered because too many transfers were under way.",
    TftpEvicted "tftp_evicted" "TFTP transfers to clients that never answered, or whose address DHCP did not assign, ended because another client needed the place.",
    TftpCompleted "tftp_completed" "TFTP transfers that were completed.",
    TftpProbed "tftp_probed" "TFTP transfers that the client ended before the first block: it asked for the size.",
    TftpAborted "tftp_aborted" "TFTP transfers that were aborted by an error.",
    TftpSilent "tftp_silent" "TFTP transfers ended because the client stopped answering.",
    TftpForeignPacket "tftp_foreign_packet" "Packets to a TFTP transfer from another address or port than its client's.",
    TftpRetransmitted "tftp_retransmitted" "TFTP packets sent more than once.",
    TftpNoRoom "tftp_no_room" "TFTP packets dropped because the kernel had no room for them in time: they are sent again.",
    TftpUnresolved "tftp_unresolved" "TFTP packets to addresses on our own wires that nobody answers for (ARP), dropped: only so many are asked for.",
    TftpBytes "tftp_bytes" "Bytes of TFTP data sent.",
    HttpConnections "http_connections" "HTTP connections accepted.",
    HttpFull "http_full" "HTTP connections closed because too many were open.",
    HttpEvicted "http_evicted" "HTTP connections from addresses that DHCP did not assign, closed because another client needed the place.",
    HttpRequests "http_requests" "HTTP requests read.",
    HttpRefused "http_refused" "HTTP requests answered with an error.",
    HttpMalformed "http_malformed" "HTTP connections closed because of a malformed request: TLS, HTTP/2, a broken or endless head.",
    HttpBusy "http_busy" "HTTP requests for image files answered with 503 because too many transfers were under way.",
    HttpUnverified "http_unverified" "HTTP requests for image files answered with 503 because their bytes were still being verified.",
    HttpHeld "http_held" "HTTP requests for image files that waited with their connection open, because their client does not retry after a 503.",
    HttpHeldTimeout "http_held_timeout" "HTTP requests for image files that waited too long or found too many others waiting: answered with 503, or cut where the response had begun.",
    HttpHeldAbandoned "http_held_abandoned" "HTTP requests for image files whose client left while it waited.",
    HttpCompleted "http_completed" "HTTP bodies that were sent completely.",
    HttpAborted "http_aborted" "HTTP bodies cut off before their end.",
    HttpStalled "http_stalled" "HTTP connections closed because the client read nothing for too long.",
    HttpGone "http_gone" "HTTP connections closed because nothing acknowledged what was sent to the client: it was switched off, or cut off.",
    HttpBytes "http_bytes" "Bytes written to HTTP connections.",
    HotImageFilled "hot_image_filled" "Copies of image files that were made in memory, because several machines asked for one.",
    HotImageHit "hot_image_hit" "Transfers of image files that went out of such a copy.",
    HotImageNoRoom "hot_image_no_room" "Transfers of image files that several machines asked for and that had no room in memory: they went out as all others.",
    HotImageFailed "hot_image_failed" "Copies of image files that could not be made.",
    HotImageWrong "hot_image_wrong" "Copies of image files that had other bytes than their checksum says: thrown away, and the file verified again.",
    FileChangeNotStored "file_change_not_stored" "Requests for files refused because what they were to change did not become durable.",
    RenderTimeout "render_timeout" "Scripts and answers whose rendering did not end in time.",
    ArtifactsRead "artifacts_read" "Artifacts of images that were read from their first byte to their last to verify them.",
    ArtifactBytesRead "artifact_bytes_read" "Bytes of artifacts that were read to verify them.",
    ArtifactsMismatched "artifacts_mismatched" "Times that an artifact was found not to have the bytes of its sha256, or could not be read.",
    AcceptFailed "accept_failed" "Connections or packets that the kernel failed to hand over.",
}

/// Everything that is counted, since the start of the process.
#[derive(Debug)]
pub struct Counters {
    values: [AtomicU64; Counter::ALL.len()],
    /// What happened, by the reason for it.
    reasons: [AtomicU64; ReasonCode::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            values: array::from_fn(|_| AtomicU64::new(0)),
            reasons: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `amount`.
    pub fn add(&self, counter: Counter, amount: u64) {
        self.values[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// Counts something that happened for a reason.
    pub fn count_reason(&self, reason: ReasonCode) {
        self.reasons[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often something happened for that reason so far.
    pub fn reason(&self, reason: ReasonCode) -> u64 {
        self.reasons[reason as usize].load(Ordering::Relaxed)
    }

    /// Every reason's name and how often it was one, in the table's order.
    pub fn reasons(&self) -> Vec<(&'static str, u64)> {
        let counted = ReasonCode::ALL.iter();
        counted.map(|reason| (reason.name(), self.reason(*reason))).collect()
    }

    /// Every counter's name and value, in the table's order.
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        Counter::ALL
            .iter()
            .map(|counter| (counter.name(), self.value(*counter)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown_under_its_name() {
        let counters = Counters::default();
        counters.count(Counter::HttpCompleted);
        counters.add(Counter::HttpBytes, 700);
        let shown = counters.snapshot();
        assert!(shown.contains(&("http_completed", 1)));
        assert!(shown.contains(&("http_bytes", 700)));
        assert!(shown.contains(&("tftp_completed", 0)));
    }
}
