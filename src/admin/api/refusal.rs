//! The one shape in which the API says no: RFC 9457's (`application/problem+json`), with a code for programs
//! and a line for everything that is wrong.

use super::{API_VERSION, Timestamp};
use crate::config::Diagnostic;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRefusal {
    /// The version of this shape.
    pub api: u32,
    /// The status of the HTTP response; none where no daemon answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What kind of refusal it is, for programs.
    pub code: RefusalCode,
    /// The same for people.
    pub title: Box<str>,
    /// What is wrong this time.
    pub detail: Box<str>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<Box<str>>,
    /// When files were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The generation that stays in force where files were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Everything that is wrong, where that is more than the detail says.
    #[serde(default)]
    pub errors: Vec<Problem>,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// Nothing is at this path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// This caller may not do this.
    Forbidden,
    /// The request's parameters are not this endpoint's.
    BadRequest,
    /// The path is of another version of the API, or of none.
    UnsupportedVersion,
    /// The inventory has no such host.
    UnknownHost,
    /// A host may not be armed.
    NotArmable,
    /// The store did not take it.
    NotStored,
    /// The operator's files are unsound.
    FilesRefused,
    /// The daemon failed.
    Internal,
    /// No daemon answers at the socket. The command line says this one and the next two.
    NoDaemon,
    /// The daemon's answer did not come, or not to its end.
    NoAnswer,
    /// The daemon speaks another version of the API than the command line.
    VersionMismatch,
    /// A kind that a later version of the daemon has.
    #[serde(other)]
    Unknown,
}

impl RefusalCode {
    /// Its HTTP status, if it is the daemon that says so, and its title.
    fn status_and_title(self) -> (Option<u16>, &'static str) {
        match self {
            RefusalCode::NotFound => (Some(404), "Nothing is at this path"),
            RefusalCode::MethodNotAllowed => (Some(405), "The path takes another method"),
            RefusalCode::Forbidden => (Some(403), "The caller may not do this"),
            RefusalCode::BadRequest => (Some(400), "The parameters are not this endpoint's"),
            RefusalCode::UnsupportedVersion => (Some(404), "The daemon speaks another version of the API"),
            RefusalCode::UnknownHost => (Some(404), "The inventory has no such host"),
            RefusalCode::NotArmable => (Some(409), "A host may not be armed"),
            RefusalCode::NotStored => (Some(503), "The store did not take it"),
            RefusalCode::FilesRefused => (Some(422), "The files are refused"),
            RefusalCode::Internal => (Some(500), "The daemon failed"),
            RefusalCode::NoDaemon => (None, "No daemon answers"),
            RefusalCode::NoAnswer => (None, "The daemon's answer did not come"),
            RefusalCode::VersionMismatch => (None, "The daemon speaks another version of the API"),
            RefusalCode::Unknown => (None, "Refused"),
        }
    }
}

impl AdminRefusal {
    /// A refusal without a line for each error.
    pub fn new(code: RefusalCode, detail: impl Into<Box<str>>) -> AdminRefusal {
        let (status, title) = code.status_and_title();
        AdminRefusal {
            api: API_VERSION,
            status,
            code,
            title: title.into(),
            detail: detail.into(),
            help: None,
            at: None,
            generation: None,
            errors: Vec::new(),
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn with_help(self, help: impl Into<Box<str>>) -> AdminRefusal {
        AdminRefusal {
            help: Some(help.into()),
            ..self
        }
    }
}

/// `what is wrong; what to do`.
impl fmt::Display for AdminRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// One thing that is wrong or odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The file, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Problem {
    /// A problem that is in no file.
    pub fn new(message: impl fmt::Display) -> Problem {
        Problem {
            message: message.to_string(),
            help: None,
            file: None,
            line: None,
            column: None,
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn with_help(self, help: &str) -> Problem {
        Problem {
            help: Some(help.to_owned()),
            ..self
        }
    }
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let Diagnostic {
            message,
            help,
            file,
            place,
        } = diagnostic;
        Problem {
            message: message.clone(),
            help: help.clone(),
            file: Some(file.clone()),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
        }
    }
}

/// `inventory.toml:41:9: what is wrong; what to do`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
