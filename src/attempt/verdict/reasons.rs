//! Which causes go by which reason. A new reason is to be placed here before anything builds.

use crate::boot::event::ReasonCode;

/// The causes that are found by a step with that reason; none where what the machine does next says more than the
/// reason, or where it stands in nobody's way.
pub fn causes_by_reason(code: ReasonCode) -> &'static [&'static str] {
    match code {
        ReasonCode::OtherPortVlan => &["wrong_port_vlan"],
        ReasonCode::OtherPort
        | ReasonCode::PortDoubted
        | ReasonCode::PortUntold
        | ReasonCode::PortNotRenewed
        | ReasonCode::NotAtItsPort => &["wrong_port"],
        ReasonCode::NoPool | ReasonCode::PoolUsedUp => &["pool_empty"],
        ReasonCode::OfferQuota => &["dhcp_starvation"],
        ReasonCode::SubnetUnserved | ReasonCode::NoSubnetHere => &["relay_in_no_subnet"],
        ReasonCode::Unlisted => &["unlisted_ignored"],
        ReasonCode::LeaseNotStored | ReasonCode::LeaseQueueFull => &["lease_not_stored"],
        ReasonCode::LoaderMissing | ReasonCode::LinkUnfollowed => &["loader_missing"],
        ReasonCode::FileMissing => &["loader_missing", "artifact_missing"],
        ReasonCode::FileUnsafe => &["loader_missing", "artifact_corrupt"],
        ReasonCode::NeverHeard => &["tftp_first_block_lost"],
        ReasonCode::ClientSilent => &[
            "tftp_first_block_lost",
            "tftp_stalled",
            "too_little_memory",
            "artifact_cut",
        ],
        ReasonCode::ClientGaveUp => &["loader_given_up", "too_little_memory", "artifact_cut"],
        ReasonCode::ConnectionEnded | ReasonCode::ClientGone | ReasonCode::ClientStalled => {
            &["too_little_memory", "artifact_cut"]
        }
        ReasonCode::ScriptForm => &["script_not_written_for_loader"],
        ReasonCode::TemplateFailed
        | ReasonCode::RenderOverlong
        | ReasonCode::RenderNoThread
        | ReasonCode::RenderBroke => &["script_template_failed", "answer_template_failed"],
        ReasonCode::ArtifactWrong
        | ReasonCode::ArtifactUnreadable
        | ReasonCode::FileChanged
        | ReasonCode::FileWrong
        | ReasonCode::FileChangedMeanwhile
        | ReasonCode::FileUnreadable => &["artifact_corrupt"],
        ReasonCode::ImageMissing | ReasonCode::ArtifactMissing => &["artifact_missing"],
        ReasonCode::Unverified => &["image_being_verified"],
        ReasonCode::TransfersFull
        | ReasonCode::TransfersFullForOne
        | ReasonCode::RequestQueueFull
        | ReasonCode::ConnectionsFull
        | ReasonCode::ConnectionsFullForOne
        | ReasonCode::ConnectionsFullForUnknown
        | ReasonCode::TooManyUnderWay
        | ReasonCode::TooManyWait
        | ReasonCode::GaveWay => &["server_full"],
        ReasonCode::CallbackRefused | ReasonCode::OrderRefused => &["token_refused"],
        ReasonCode::InstallOfAnother => &["install_of_another"],
        ReasonCode::OtherHardware => &["other_hardware"],
        ReasonCode::NoOrder => &["nothing_to_deploy"],
        ReasonCode::AnswerOfAnother
        | ReasonCode::AnswerToNobody
        | ReasonCode::AnswerNotNow
        | ReasonCode::AnswerAddressFamily
        | ReasonCode::AnswerUnlisted
        | ReasonCode::AnswerUnnamed
        | ReasonCode::FactsOfAnother => &["answer_refused"],
        ReasonCode::AnswerFileMissing => &["answer_file_missing"],
        // Whatever it is refused for: that it is refused is a cause (`address_refused`).
        ReasonCode::OwnAddressOther
        | ReasonCode::OwnAddressInUse
        | ReasonCode::AddressElsewhere
        | ReasonCode::NotInPool
        | ReasonCode::HeldByAnother => &[],
        // No machine in its boot asks so, or asks for nothing thereby.
        ReasonCode::FromOurselves
        | ReasonCode::NoHardwareAddress
        | ReasonCode::MessageType
        | ReasonCode::Malformed
        | ReasonCode::PacketTooLong
        | ReasonCode::RequestNamesNone
        | ReasonCode::ReleaseNamesNone
        | ReasonCode::DeclineNamesNone
        | ReasonCode::InformNamesNone
        | ReasonCode::ReleaseToOther
        | ReasonCode::DeclineToOther
        | ReasonCode::ReleaseNotHeld
        | ReasonCode::DeclineNotHeld
        | ReasonCode::InformElsewhere
        | ReasonCode::BootpTaken
        | ReasonCode::BootpUnreserved
        | ReasonCode::NotHttp
        | ReasonCode::ReadOnly
        | ReasonCode::NetasciiFile
        | ReasonCode::UnknownMode
        | ReasonCode::BadPath
        | ReasonCode::PathTooLong
        | ReasonCode::WrongMethod
        | ReasonCode::DisksUnread => &[],
        // It asks again, here or elsewhere, and its silence is judged where it does not.
        ReasonCode::ProbePending
        | ReasonCode::ProbeUndecided
        | ReasonCode::NoInterfaceAddress
        | ReasonCode::LeaseUnknown
        | ReasonCode::ProxyRequest
        | ReasonCode::ProxyOther
        | ReasonCode::ProxyPxelinux
        | ReasonCode::ProxyNothing
        | ReasonCode::PxePortKind
        | ReasonCode::PxePortNothing
        | ReasonCode::BodyTooLarge
        | ReasonCode::BodyTooSlow
        | ReasonCode::BodyBroken
        | ReasonCode::ChangeNotStored
        | ReasonCode::MetadataMissing
        | ReasonCode::FileNotInTime
        | ReasonCode::FileIsAnother
        | ReasonCode::NoSuchBytes
        | ReasonCode::DiskBusy
        | ReasonCode::WaitEnded => &[],
    }
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
