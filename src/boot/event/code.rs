//! Why a step came to be, in a word that is kept: on disk, in the API, and from one version to another.

use super::{DiskReason, Mismatch, ReasonCode, ReservationUnavailable};
use crate::model::InstallFailure;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! circumstances {
    ($($variant:ident $name:literal $what:literal,)*) => {
        /// What decides a boot and is no [`Reason`](super::Reason): nothing was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Circumstance {
            $(#[doc = $what] $variant,)*
        }

        impl Circumstance {
            /// Every one.
            pub const ALL: &[Circumstance] = &[$(Circumstance::$variant,)*];

            /// Its name in records.
            pub fn name(self) -> &'static str {
                match self {
                    $(Circumstance::$variant => $name,)*
                }
            }
        }
    };
}

circumstances! {
    DiskConfigured "disk_configured" "The inventory says that it boots its disk.",
    DiskLocked "disk_locked" "It is locked to its disk.",
    DiskNotArmed "disk_not_armed" "It is not armed.",
    DiskInstalled "disk_installed" "It is installed.",
    DiskInstallFailed "disk_install_failed" "Its install failed.",
    DiskRuleInstalls "disk_rule_installs" "A rule installs, and no unlisted machine is ever armed.",
    AddressOfOtherSubnet "address_of_other_subnet" "Its own address is of another subnet than it is in.",
    AddressOfOtherInterface "address_of_other_interface" "Its system uses its own address on another interface.",
    AddressLeased "address_leased" "Its own address is leased to another machine still.",
    InstallReported "install_reported" "Its installer said that it failed.",
    InstallSilent "install_silent" "Its installer was not heard in time.",
    InstallInterrupted "install_interrupted" "It was started anew in the middle of its install.",
    InstallTooOften "install_too_often" "Its install was handed out as often as it may be.",
    PortUnbelieved "port_unbelieved" "It is told to be at a host's switch port by one who is not believed.",
    UuidOfAnother "uuid_of_another" "It says the UUID of a host that lists MACs.",
    SerialOfAnother "serial_of_another" "It says the serial number of a host that lists MACs.",
    OtherUuid "other_uuid" "It says another UUID than the inventory lists.",
    OtherSerial "other_serial" "It says another serial number than the inventory lists.",
}

impl From<DiskReason> for Circumstance {
    fn from(why: DiskReason) -> Circumstance {
        match why {
            DiskReason::Configured => Circumstance::DiskConfigured,
            DiskReason::Locked => Circumstance::DiskLocked,
            DiskReason::NotArmed => Circumstance::DiskNotArmed,
            DiskReason::Installed => Circumstance::DiskInstalled,
            DiskReason::InstallFailed => Circumstance::DiskInstallFailed,
            DiskReason::RuleInstalls => Circumstance::DiskRuleInstalls,
        }
    }
}

impl From<&ReservationUnavailable> for Circumstance {
    fn from(why: &ReservationUnavailable) -> Circumstance {
        match why {
            ReservationUnavailable::OtherSubnet { .. } => Circumstance::AddressOfOtherSubnet,
            ReservationUnavailable::OtherInterface { .. } => Circumstance::AddressOfOtherInterface,
            ReservationUnavailable::Leased { .. } => Circumstance::AddressLeased,
        }
    }
}

impl From<&InstallFailure> for Circumstance {
    fn from(why: &InstallFailure) -> Circumstance {
        match why {
            InstallFailure::Reported { .. } => Circumstance::InstallReported,
            InstallFailure::Silent => Circumstance::InstallSilent,
            InstallFailure::Interrupted => Circumstance::InstallInterrupted,
            InstallFailure::TooOften { .. } => Circumstance::InstallTooOften,
        }
    }
}

impl From<&Mismatch> for Circumstance {
    fn from(mismatch: &Mismatch) -> Circumstance {
        match mismatch {
            Mismatch::PortUnbelieved { .. } => Circumstance::PortUnbelieved,
            Mismatch::UuidOfAnother { .. } => Circumstance::UuidOfAnother,
            Mismatch::SerialOfAnother { .. } => Circumstance::SerialOfAnother,
            Mismatch::OtherUuid { .. } => Circumstance::OtherUuid,
            Mismatch::OtherSerial { .. } => Circumstance::OtherSerial,
        }
    }
}

/// Why a step came to be. On disk and in JSON it is its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepCode {
    /// Something was refused, ignored or cut, for that reason.
    Reason(ReasonCode),
    /// Nothing was.
    Circumstance(Circumstance),
    /// One of another version, by its name.
    Unknown(Box<str>),
}

impl StepCode {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            StepCode::Reason(code) => code.name(),
            StepCode::Circumstance(circumstance) => circumstance.name(),
            StepCode::Unknown(name) => name,
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> StepCode {
        let mut reasons = ReasonCode::ALL.iter();
        let mut circumstances = Circumstance::ALL.iter();
        let reason = reasons.find(|code| code.name() == name).copied().map(StepCode::Reason);
        let mut circumstance = || circumstances.find(|known| known.name() == name).copied();
        reason
            .or_else(|| circumstance().map(StepCode::Circumstance))
            .unwrap_or_else(|| StepCode::Unknown(name.into()))
    }
}

impl From<ReasonCode> for StepCode {
    fn from(code: ReasonCode) -> StepCode {
        StepCode::Reason(code)
    }
}

impl From<Circumstance> for StepCode {
    fn from(circumstance: Circumstance) -> StepCode {
        StepCode::Circumstance(circumstance)
    }
}

impl fmt::Display for StepCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for StepCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for StepCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StepCode, D::Error> {
        String::deserialize(deserializer).map(|name| StepCode::named(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_is_read_back_from_its_name_and_one_of_another_version_keeps_its_own() {
        let reasons = ReasonCode::ALL.iter().map(|code| StepCode::from(*code));
        let known: Vec<StepCode> = reasons
            .chain(Circumstance::ALL.iter().map(|known| StepCode::from(*known)))
            .chain([StepCode::Unknown("teleported".into())])
            .collect();
        for code in &known {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.name()));
            assert_eq!(serde_json::from_str::<StepCode>(&json).unwrap(), *code);
        }
        let names: BTreeSet<&str> = known.iter().map(StepCode::name).collect();
        assert_eq!(names.len(), known.len());
    }
}
