//! Which causes go by which reason. A new reason is to be placed here before anything builds.

use crate::boot::event::ReasonCode;

macro_rules! causes {
    ($([$($cause:literal),*] $($code:ident)*;)*) => {
        /// The causes that are found by a step with that reason; none where what the machine does next says more than
        /// the reason, or where it stands in nobody's way.
        pub fn causes_by_reason(code: ReasonCode) -> &'static [&'static str] {
            match code {
                $($(ReasonCode::$code)|* => &[$($cause),*],)*
            }
        }
    };
}

causes! {
    ["wrong_port_vlan"] OtherPortVlan;
    ["wrong_port"] OtherPort PortDoubted PortUntold PortNotRenewed NotAtItsPort;
    ["pool_empty"] NoPool PoolUsedUp;
    ["dhcp_starvation"] OfferQuota;
    ["relay_in_no_subnet"] SubnetUnserved NoSubnetHere;
    ["unlisted_ignored"] Unlisted;
    ["lease_not_stored"] LeaseNotStored LeaseQueueFull;
    ["loader_missing"] LoaderMissing LinkUnfollowed;
    ["loader_missing", "artifact_missing"] FileMissing;
    ["loader_missing", "artifact_corrupt"] FileUnsafe;
    ["tftp_first_block_lost"] NeverHeard;
    ["tftp_first_block_lost", "tftp_stalled", "too_little_memory", "artifact_cut"] ClientSilent;
    ["loader_given_up", "too_little_memory", "artifact_cut"] ClientGaveUp;
    ["too_little_memory", "artifact_cut"] ConnectionEnded ClientGone ClientStalled;
    ["script_not_written_for_loader"] ScriptForm;
    ["script_template_failed", "answer_template_failed"] TemplateFailed RenderOverlong RenderNoThread RenderBroke;
    ["artifact_corrupt"] ArtifactWrong ArtifactUnreadable FileChanged FileWrong FileChangedMeanwhile FileUnreadable;
    ["artifact_missing"] ImageMissing ArtifactMissing;
    ["image_being_verified"] Unverified;
    ["server_full"] TransfersFull TransfersFullForOne RequestQueueFull ConnectionsFull ConnectionsFullForOne
        ConnectionsFullForUnknown TooManyUnderWay TooManyWait GaveWay;
    ["token_refused"] CallbackRefused OrderRefused;
    ["install_of_another"] InstallOfAnother;
    ["other_hardware"] OtherHardware;
    ["nothing_to_deploy"] NoOrder;
    ["answer_refused"] AnswerOfAnother AnswerToNobody AnswerNotNow AnswerAddressFamily AnswerUnlisted AnswerUnnamed
        FactsOfAnother;
    ["answer_file_missing"] AnswerFileMissing;
    // Whatever it is refused for: that it is refused is a cause (`address_refused`).
    [] OwnAddressOther OwnAddressInUse AddressElsewhere NotInPool HeldByAnother;
    // No machine in its boot asks so, or asks for nothing thereby.
    [] FromOurselves NoHardwareAddress MessageType Malformed PacketTooLong RequestNamesNone ReleaseNamesNone
        DeclineNamesNone InformNamesNone ReleaseToOther DeclineToOther ReleaseNotHeld DeclineNotHeld
        InformElsewhere BootpTaken BootpUnreserved NotHttp ReadOnly NetasciiFile UnknownMode BadPath PathTooLong
        WrongMethod DisksUnread;
    // It asks again, here or elsewhere, and its silence is judged where it does not.
    [] ProbePending ProbeUndecided NoInterfaceAddress LeaseUnknown ProxyRequest ProxyOther ProxyPxelinux
        ProxyNothing PxePortKind PxePortNothing BodyTooLarge BodyTooSlow BodyBroken ChangeNotStored MetadataMissing
        FileNotInTime FileIsAnother NoSuchBytes DiskBusy WaitEnded;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{
        Attempt,
        verdict::{Trace, causes},
    };
    use std::{collections::BTreeSet, time::Duration};

    /// The causes that fit an attempt with one step of that reason, whatever file it is about.
    fn found(code: &str) -> BTreeSet<&'static str> {
        let kinds = ["loader", "script", "artifact", "answer", "callback", "other"];
        let steps = kinds.into_iter().flat_map(|kind| [0, 100].map(|bytes| (kind, bytes)));
        let attempts = steps.map(|(kind, bytes)| -> Attempt {
            let step = serde_json::json!({"at_ms": 9, "until_ms": 9, "times": 2, "stage": "ipxe", "event": "failed",
                "file": "a file", "file_kind": kind, "bytes": bytes, "of": 300,
                "reason": {"code": code, "sentence": "no"}});
            let attempt = serde_json::json!({"id": 7, "owner": {"host": "r1u07"}, "generation": 3, "began": 7, "last_ms": 9,
                "progress": "asked", "steps": [step]});
            serde_json::from_value(attempt).unwrap()
        });
        let of_attempt = |attempt: Attempt| {
            let trace = Trace {
                attempt: &attempt,
                silence: Duration::from_secs(1),
            };
            let fit = causes().filter(|cause| (cause.find)(&trace).is_some());
            fit.map(|cause| cause.name).collect::<Vec<&str>>()
        };
        attempts.flat_map(of_attempt).collect()
    }

    #[test]
    fn each_reason_leads_to_the_causes_that_are_said_to_go_by_it_and_to_no_other() {
        let without = found("of_another_version");
        for code in ReasonCode::ALL {
            let found: BTreeSet<&str> = &found(code.name()) - &without;
            let said: BTreeSet<&str> = causes_by_reason(*code).iter().copied().collect();
            assert_eq!(found, said, "{}", code.name());
        }
    }
}
