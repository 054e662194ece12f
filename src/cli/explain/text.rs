//! An explanation for people: whom it is taken for, what each setting is and where it is written, what DHCP answers, the
//! script, and the files.

use crate::admin::api::Explanation;
use crate::boot::explain::{
    ExplainedFile, ExplainedOption, ExplainedReply, ExplainedScript, ExplainedSetting, FileRole, FileStanding,
    MatchedRow, OverruledSetting, RowVerdict,
};
use crate::boot::snapshot::Origin;
use indicatif::HumanBytes;
use std::fmt::{self, Display, Formatter, Write};

/// All of it.
pub(super) fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", ShownExplanation(explanation));
    text
}

struct ShownExplanation<'e>(&'e Explanation);

impl Display for ShownExplanation<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Explanation {
            mac,
            host,
            generation,
            arch,
            relay,
            interface,
            as_if_armed,
            matches,
            settings,
            replies,
            script,
            files,
            notes,
        } = self.0;
        match host {
            Some(name) => write!(f, "{name} ({mac})")?,
            None => write!(f, "{mac}")?,
        }
        write!(f, ", by generation {generation}; option 93 is {arch}")?;
        match (relay, interface) {
            (Some(relay), _) => write!(f, ", behind the relay {relay}")?,
            (None, Some(interface)) => write!(f, ", on {interface}")?,
            (None, None) => {}
        }
        writeln!(f, "{}", if *as_if_armed { ", as if it were armed" } else { "" })?;
        writeln!(f, "\nWho it is")?;
        rows(f, matches.iter().map(match_cells))?;
        if !settings.is_empty() {
            writeln!(f, "\nSettings")?;
            rows(f, settings.iter().flat_map(setting_cells))?;
        }
        for (place, reply) in replies.iter().enumerate() {
            reply_text(f, place, reply)?;
        }
        if let Some(script) = script {
            script_text(f, script)?;
        }
        if !files.is_empty() {
            writeln!(f, "\nFiles")?;
            rows(f, files.iter().map(file_cells))?;
        }
        if !notes.is_empty() {
            writeln!(f)?;
        }
        notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// What a column is widened to for its longest cell.
const CELL_CHARACTERS_MAX: usize = 40;

/// Rows whose cells line up, a step to the right.
fn rows<const N: usize>(f: &mut Formatter<'_>, rows: impl Iterator<Item = [String; N]>) -> fmt::Result {
    let rows: Vec<[String; N]> = rows.collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            // One that is longer stands out, and moves nobody else's.
            let length = cell.chars().count();
            *width = (*width).max(length.min(CELL_CHARACTERS_MAX));
        }
    }
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "  {cell:width$}")?;
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

fn place_text(place: Option<&Origin>) -> String {
    place.map(ToString::to_string).unwrap_or_default()
}

fn match_cells(row: &MatchedRow) -> [String; 4] {
    let verdict = match row.verdict {
        RowVerdict::Matched => "it is",
        RowVerdict::PassedOver => "passed over",
        RowVerdict::NotAsked => "not asked",
    };
    [
        verdict.into(),
        row.what.clone(),
        row.why.clone(),
        place_text(row.place.as_ref()),
    ]
}

/// The value in force, and below it what it stands in place of.
fn setting_cells(row: &ExplainedSetting) -> Vec<[String; 4]> {
    let ExplainedSetting {
        key,
        value,
        place,
        layer,
        overrules,
    } = row;
    let own = [
        key.clone(),
        value.clone(),
        layer.clone().unwrap_or_default(),
        place_text(Some(place)),
    ];
    let below = overrules.iter().map(|OverruledSetting { value, place, layer }| {
        [
            String::new(),
            ["and not ", value].concat(),
            layer.clone(),
            place_text(Some(place)),
        ]
    });
    std::iter::once(own).chain(below).collect()
}

fn reply_text(f: &mut Formatter<'_>, place: usize, reply: &ExplainedReply) -> fmt::Result {
    let then = if place == 0 { "" } else { ", later" };
    let asked = format!("its DISCOVER as {}{then}", reply.stage);
    answer_text(f, &asked, reply)?;
    match &reply.at_boot_server {
        Some(answer) => answer_text(f, "its REQUEST for the boot file then, at port 4011", answer),
        None => Ok(()),
    }
}

fn answer_text(f: &mut Formatter<'_>, asked: &str, reply: &ExplainedReply) -> fmt::Result {
    let ExplainedReply {
        stage: _,
        quirks,
        decision,
        reason,
        address,
        next_server,
        boot_file,
        to,
        options,
        packet: _,
        request,
        at_boot_server: _,
    } = reply;
    writeln!(f, "\nDHCP, {asked}: {decision}")?;
    if !quirks.is_empty() {
        writeln!(f, "  quirks: {}", quirks.join(", "))?;
    }
    if let Some(reason) = reason {
        writeln!(f, "  no answer ({reason})")?;
    }
    let line = |f: &mut Formatter<'_>, what: &str, value: Option<&dyn Display>| match value {
        Some(value) => writeln!(f, "  {what:12} {value}"),
        None => Ok(()),
    };
    line(f, "to", to.as_ref().map(|to| to as &dyn Display))?;
    line(f, "address", address.as_ref().map(|address| address as &dyn Display))?;
    line(
        f,
        "next server",
        next_server.as_ref().map(|server| server as &dyn Display),
    )?;
    line(f, "boot file", boot_file.as_ref().map(|file| file as &dyn Display))?;
    rows(f, options.iter().map(option_cells))?;
    match request {
        Some(request) => writeln!(f, "  and the REQUEST that takes it: {request}"),
        None => Ok(()),
    }
}

fn option_cells(option: &ExplainedOption) -> [String; 5] {
    let ExplainedOption {
        code,
        name,
        value,
        source,
        place,
    } = option;
    let code = code.to_string();
    [
        code,
        name.clone(),
        value.clone(),
        source.clone(),
        place_text(place.as_ref()),
    ]
}

fn script_text(f: &mut Formatter<'_>, script: &ExplainedScript) -> fmt::Result {
    let ExplainedScript {
        url,
        dialect: _,
        what,
        template,
        text,
    } = script;
    writeln!(f, "\nScript: {what}")?;
    writeln!(f, "  {url}")?;
    if let Some(template) = template {
        writeln!(f, "  made from {template}")?;
    }
    text.lines().try_for_each(|line| writeln!(f, "  | {line}"))
}

fn file_cells(file: &ExplainedFile) -> [String; 4] {
    let ExplainedFile {
        role,
        url,
        standing,
        bytes,
        detail,
    } = file;
    let role = match role {
        FileRole::Loader => "loader",
        FileRole::Script => "script",
        FileRole::Kernel => "kernel",
        FileRole::Initrd => "initrd",
        FileRole::Loaded => "file",
        FileRole::Parameter => "parameter",
    };
    let standing = match standing {
        FileStanding::Intact => "intact",
        FileStanding::There => "there",
        FileStanding::Rendered => "rendered",
        FileStanding::Verifying => "BEING VERIFIED",
        FileStanding::Wrong => "WRONG",
        FileStanding::Missing => "MISSING",
        FileStanding::Optional => "not there, and done without",
        FileStanding::Refused => "REFUSED",
        FileStanding::Elsewhere => "not ours",
    };
    let length = bytes.map(|bytes| HumanBytes(bytes).to_string());
    let more = detail.clone().or(length).unwrap_or_default();
    [role.into(), url.clone(), standing.into(), more]
}
