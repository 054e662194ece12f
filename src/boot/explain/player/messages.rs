//! What the machine that is played sends.

use super::{
    super::{TriedBootServer, ingress::at_boot_server},
    Player, TRANSACTION,
};
use crate::boot::{
    engine::{Ingress, Outcome},
    event::Stage,
};
use crate::model::{Arch, Firmware, Mode, Uuid};
use crate::proto::dhcp::client::{AcceptedOffer, ClientKind, ClientMessage};

impl Player<'_, '_> {
    /// What UEFI's PXE asks at port 4011 for the boot file, after the offer of every proxy.
    pub(super) fn boot_server(
        &mut self,
        client: ClientKind,
        ingress: &Ingress,
        offer: &Outcome,
    ) -> Option<TriedBootServer> {
        let is_asked = ingress.mode == Mode::Proxy && client == ClientKind::Firmware && offer.send.is_some();
        let is_uefi = self.question.stage == Stage::UefiPxe;
        let address = self.trial.address.filter(|_| is_asked && is_uefi)?;
        let ingress = at_boot_server(ingress, address);
        let request = self.message_of(client, None).encode_for_boot_server(address);
        let (outcome, ..) = self.decide(&ingress, &request);
        Some(TriedBootServer {
            ingress,
            request,
            outcome,
        })
    }

    pub(super) fn message(&self, client: ClientKind, takes: Option<AcceptedOffer>) -> Vec<u8> {
        self.message_of(client, takes).encode()
    }

    fn message_of(&self, client: ClientKind, takes: Option<AcceptedOffer>) -> ClientMessage<'_> {
        ClientMessage {
            client,
            arch: self.arch_of(client),
            mac: self.question.mac,
            xid: TRANSACTION,
            relay: self.question.relay,
            takes,
            uuid: Some(self.question.uuid.unwrap_or(Uuid::NIL)),
            circuit_id: self.question.circuit_id.as_deref(),
        }
    }

    /// What that client says in option 93: an iPXE that firmware loaded by HTTP says what its own platform is.
    fn arch_of(&self, client: ClientKind) -> u16 {
        let asked = self.question.arch;
        let is_loaded = client == ClientKind::Ipxe && self.question.client() != ClientKind::Ipxe;
        let of_platform = || {
            let arch = Arch::from_option_93(asked)?;
            let firmware = match arch.firmware {
                Firmware::UefiHttp => Firmware::Uefi,
                Firmware::BiosHttp => Firmware::Bios,
                other => other,
            };
            Arch { firmware, ..arch }.option_93()
        };
        Some(asked).filter(|_| !is_loaded).or_else(of_platform).unwrap_or(asked)
    }
}
