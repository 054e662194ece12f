//! What the daemon tells an operator, as JSON: the same types on both ends of the socket, one file an
//! endpoint, and what endpoints have in common here.
//!
//! Shapes are those of [`API_VERSION`]: a field may come to them, and none goes or changes its meaning without
//! another version.

mod arm;
mod attempts;
mod disks;
mod events;
mod explain;
mod generations;
mod hosts;
mod leases;
mod packets;
mod plan;
mod refusal;
mod reload;
mod render;
mod status;
mod timestamp;

pub use arm::{ArmRequest, Armed, DisarmRequest, Disarmed};
pub use attempts::{AttemptFilter, AttemptStatus};
pub use disks::HostDisks;
pub use events::{EventFilter, EventLine, EventStatus};
pub use explain::{Explanation, QuestionWords};
pub use generations::{
    ChangeCounts, FileChange, GENERATIONS_LISTED, GenerationFilter, GenerationStatus, RollbackRequest, RolledBack,
    generation_number,
};
pub use hosts::{HeldAddress, HostFilter, HostStatus, InstallStatus};
pub use leases::LeaseStatus;
pub use packets::{PacketFilter, PacketStatus, PacketTime, RecordedInterface, RecordedPackets};
pub use plan::PlanBasis;
pub use refusal::{AdminRefusal, Problem, RefusalCode};
pub use reload::{InstallTarget, ReloadAccepted, ReloadRefusal};
pub use render::{RenderRequest, RenderedText};
pub use status::{
    ArtifactStatus, InterfaceStatus, LastGoodFiles, LeaseWriteFailure, RelayStatus, Status, TransferStatus,
    UnservedArtifact,
};
pub use timestamp::Timestamp;

use serde::{Deserialize, Serialize};

/// The version of the shapes and paths: it is in every path (`/v1/status`), and every response has it in the
/// header [`API_VERSION_HEADER`].
pub const API_VERSION: u32 = 1;

/// The header of a response that has its version.
pub const API_VERSION_HEADER: &str = "bootwright-api";

/// What an endpoint takes that is asked for one thing only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}
