//! Bounds of the files that people edit: what may be in them, how they are validated, reported, watched and kept.

use std::time::Duration;

/// The work one template may do before it is stopped (minijinja fuel).
pub const TEMPLATE_FUEL: u64 = 200_000;
/// Steps that lead to any word of a template: operators, filters, brackets, blocks, `elif`. The engine takes them
/// by recursion, some two kilobytes of stack each.
pub const TEMPLATE_DEPTH_MAX: usize = 1000;
/// The stack of every thread that compiles or renders templates; what is not used of it takes no memory.
pub const TEMPLATE_STACK_BYTES: usize = 16 * 1024 * 1024;
/// The stack that new templates are tried on: what gets by with it has room to spare everywhere else.
pub const VALIDATION_STACK_BYTES: usize = TEMPLATE_STACK_BYTES / 2;
/// How long one file may take to be read, or one template to be compiled or rendered, when files are tried.
pub const VALIDATION_STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a trial of files may take in all: operators wait for `ADMIN_CHANGE_TIMEOUT`.
pub const VALIDATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that a trial may say: a line for each host and text, and what is wrong.
pub const VALIDATION_OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of memory that a trial may use; 10,000 hosts take a tenth of it.
pub const VALIDATION_MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The longest text one template may render.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Errors, and as many warnings, that are shown of one file; the others are counted.
pub const DIAGNOSTICS_PER_FILE_MAX: usize = 200;
/// Errors, and as many warnings, that are shown of all files.
pub const DIAGNOSTICS_MAX: usize = 2000;
/// Bytes of one message, which may quote the file.
pub const DIAGNOSTIC_BYTES_MAX: usize = 1000;
/// Bytes behind the first syntax error of a file in which others are looked for: each takes some hundred bytes,
/// and of a file that is something else altogether every byte may be one.
pub const SYNTAX_ERRORS_WITHIN_BYTES: usize = 64 * 1024;
/// The largest file that people edit: a configuration, an inventory, a template.
pub const EDITED_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Files in one folder that people edit.
pub const EDITED_FILES_MAX: usize = 10_000;
/// How long after the last change in a watched folder the inventory is read again.
pub const RELOAD_DEBOUNCE: Duration = Duration::from_millis(300);
/// How long a watched folder may go on changing before the inventory is read all the same.
pub const RELOAD_DEBOUNCE_MAX: Duration = Duration::from_secs(5);
/// Symbolic links on the way to one file that are watched: as many as the system follows.
pub const WATCHED_LINKS_MAX: usize = 40;
/// Folders and links behind the links of one answer that are watched: a link may lead anywhere.
pub const WATCHED_BEHIND_LINKS_MAX: usize = 4096;
/// How often it is looked whether files changed that no news came of: their folder was replaced, or lies on a
/// file system that tells nothing.
pub const WATCH_POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Folders whose changes are not seen at once, and that are named.
pub const UNWATCHED_NAMED_MAX: usize = 8;
/// Problems of a refused reload that are logged; `bootwright status` shows all of them.
pub const REFUSAL_LINES_MAX: usize = 50;
/// How often it is logged again that the files on disk are refused.
pub const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(600);
/// How often it is looked whether that is due.
pub const REFUSAL_POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Files of one accepted version that are kept over a restart.
pub const LAST_GOOD_FILES_MAX: usize = 20_000;
/// The bytes of these.
pub const LAST_GOOD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Folders in the folder of answers, one in the other, that are kept.
pub const LAST_GOOD_DEPTH_MAX: usize = 8;
/// Folders in an answer's folder, one in the other.
pub const ANSWER_DEPTH_MAX: usize = 4;
/// Steps from a profile to its furthest ancestor.
pub const PROFILE_DEPTH_MAX: usize = 64;
/// Bytes of a secret, which is one line.
pub const SECRET_BYTES_MAX: u64 = 16 * 1024;
/// Nested lists and tables in one template variable.
pub const VAR_DEPTH_MAX: usize = 16;
/// The work of a template that is rendered on the thread that serves (minijinja fuel): the shipped ones take a
/// tenth of it, and all of it takes some hundred microseconds. What takes more is rendered on a thread that can
/// be given up.
pub const TEXT_AT_ONCE_FUEL: u64 = 4000;
/// Bytes of a machine's own values where its text is rendered on the thread that serves: no step of a template
/// takes longer than to go through them once.
pub const TEXT_AT_ONCE_VALUES_BYTES_MAX: usize = 16 * 1024;
/// How long a machine's text may take to be rendered while machines are served. Firmware asks again meanwhile.
pub const RENDER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a machine whose text came to no end is refused it, with the same inventory.
pub const RENDER_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// How long a text waits for a thread in a storm.
pub const RENDER_QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Texts that wait for one: one for each connection and transfer.
pub const RENDER_QUEUE_MAX: usize = super::HTTP_CONNECTIONS_MAX + super::TFTP_TRANSFERS_MAX;
/// Threads that render; no more than there are processors.
pub const RENDER_THREADS_MAX: usize = 16;
/// Such threads that are replaced while they are at a text that comes to no end.
pub const RENDER_THREADS_STUCK_MAX: usize = 4;
/// How often it is logged that no more are replaced.
pub const RENDER_STUCK_LOG_INTERVAL: Duration = Duration::from_secs(60);
