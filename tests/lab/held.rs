//! A transfer that goes on only when its test wants it to: curl, and nobody reads what it writes. However
//! slow the machine is, the file is under way for as long as the test needs.

use super::namespace::{Namespace, SERVER, TaskTracker};
use std::{
    io::Read,
    process::{ChildStdout, Stdio},
};

/// Bytes that have come when a transfer counts as begun.
const BEGUN_BYTES: usize = 64 * 1024;

/// curl in the middle of a file; killed on drop.
pub struct Held {
    curl: TaskTracker,
    output: ChildStdout,
    got: Vec<u8>,
}

impl Held {
    /// Begins to fetch a file that is larger than all the buffers on its way, 10 MB as the kernel has them.
    pub fn begin(client: &Namespace, path: &str) -> Held {
        let mut command = client.command("curl");
        // A bound for the test that forgets it.
        command.args(["-sSf", "-m", "170", &format!("http://{SERVER}{path}")]);
        let mut curl = TaskTracker(command.stdout(Stdio::piped()).spawn().expect("curl is installed"));
        let mut output = curl.0.stdout.take().expect("piped above");
        let mut got = vec![0; BEGUN_BYTES];
        output.read_exact(&mut got).expect("the transfer begins");
        Held { curl, output, got }
    }

    /// Lets it go on to its end: whether curl calls the file whole, and its bytes.
    pub fn end(mut self) -> (bool, Vec<u8>) {
        self.output.read_to_end(&mut self.got).expect("our own pipe");
        (self.curl.0.wait().expect("our own child").success(), self.got)
    }
}
