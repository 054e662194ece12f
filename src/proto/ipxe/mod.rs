//! What an iPXE script says: as much of the language as tells which files it fetches, and where those are.
//!
//! Nothing is fetched here. `storm` plays the machines of a fleet by it, and `boot::explain` the one that is asked after.

mod file_url;
mod script;

pub use file_url::{FileTransport, FileUrl};
pub use script::{IpxeScript, IpxeSettings, ScriptEnd, ScriptRequest, expand};
