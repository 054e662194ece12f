//! Hosts are armed and disarmed at an operator's word.

use super::{
    AdminService,
    hosts::{by_this_clock, named},
};
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, ArmRequest, Armed, DisarmRequest, Disarmed, Problem, RefusalCode},
    routes::{PostArm, PostDisarm},
};
use crate::boot::{
    arming::HostState,
    snapshot::{Host, Snapshot},
    verification::{Verification, VerificationState},
};
use crate::model::{
    BootTarget, By, Name,
    limits::INSTALL_WORDS_BYTES_MAX,
    text::{counted, prefix, shown},
};
use crate::state::{Shared, arming::ArmingError};
use nix::unistd::{Uid, User};
use std::sync::Arc;
use tokio::runtime::Handle;

impl Answers<PostArm> for AdminService {
    fn answer(&self, request: ArmRequest, caller: &Caller) -> Result<Document<Armed>, AdminRefusal> {
        let lasting = request.lasting()?;
        let by = asked_by(caller, &request.by)?;
        let snapshot = self.shared.snapshot.load_full();
        let hosts = some(named(&snapshot.hosts, &request.host)?)?;
        refuse(objections(&self.shared, &snapshot, &hosts))?;
        let until = by_this_clock(&self.shared, |date| date.0.saturating_add(lasting.as_secs()));
        let arming = self.shared.arm(&hosts, (lasting, operator(&by)), Vec::new());
        Handle::current().block_on(arming).map_err(unarmed)?;
        let reports = self.disk_reports();
        Ok(Document(Armed {
            hosts: hosts.iter().map(|host| host.name.to_string()).collect(),
            until,
            by,
            disks: hosts.iter().map(|host| reports.of(&snapshot, host)).collect(),
        }))
    }
}

impl Answers<PostDisarm> for AdminService {
    fn answer(&self, request: DisarmRequest, caller: &Caller) -> Result<Document<Disarmed>, AdminRefusal> {
        let by = asked_by(caller, &request.by)?;
        let snapshot = self.shared.snapshot.load_full();
        let hosts = some(named(&snapshot.hosts, &request.host)?)?;
        let names: Vec<Name> = hosts.iter().map(|host| host.name.clone()).collect();
        let operator = operator(&by);
        let disarmed = Handle::current().block_on(self.shared.disarm(&names, &operator));
        let disarmed = disarmed.map_err(undisarmed)?;
        let (were, were_not): (Vec<&Name>, Vec<&Name>) = names.iter().partition(|name| disarmed.contains(name));
        let texts = |names: Vec<&Name>| names.iter().map(ToString::to_string).collect();
        Ok(Document(Disarmed {
            disarmed: texts(were),
            unarmed: texts(were_not),
        }))
    }
}

fn some(hosts: Vec<Arc<Host>>) -> Result<Vec<Arc<Host>>, AdminRefusal> {
    match hosts.is_empty() {
        true => Err(AdminRefusal::new(RefusalCode::BadRequest, "no host is named")),
        false => Ok(hosts),
    }
}

/// Who asks: by the socket, which nobody can make up, and by their own word where several are one user.
pub(super) fn asked_by(caller: &Caller, claimed: &[String]) -> Result<String, AdminRefusal> {
    let user = match caller.uid() {
        None => "an unknown user".to_owned(),
        Some(uid) => match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => format!("uid {uid}"),
        },
    };
    let who = match claimed {
        [] => user,
        [claimed] if *claimed == user => user,
        [claimed] => format!("{claimed} (as {user})"),
        _ => return Err(AdminRefusal::new(RefusalCode::BadRequest, "`by` is there twice")),
    };
    let who = shown(who);
    Ok(prefix(&who, INSTALL_WORDS_BYTES_MAX).to_owned())
}

fn operator(name: &str) -> By {
    By::Operator { name: name.into() }
}

/// Nobody is armed where one may not be.
fn refuse(objections: Vec<Problem>) -> Result<(), AdminRefusal> {
    let Some(first) = objections.first() else { return Ok(()) };
    let detail = match objections.len() {
        1 => first.message.clone(),
        count => format!("{} can't be armed, so none was", counted(count, "host")),
    };
    let refusal = AdminRefusal::new(RefusalCode::NotArmable, detail);
    let alone = objections.len() == 1;
    let refusal = match first.help.as_deref().filter(|_| alone) {
        Some(help) => refusal.with_help(help),
        None => refusal,
    };
    Err(AdminRefusal {
        errors: if alone { Vec::new() } else { objections },
        ..refusal
    })
}

/// Why hosts may not be armed, one each.
fn objections(shared: &Shared, snapshot: &Arc<Snapshot>, hosts: &[Arc<Host>]) -> Vec<Problem> {
    let unserved = shared.verification(
        (Arc::clone(snapshot), hosts.to_vec()),
        |verification, (snapshot, hosts)| {
            let all = hosts.iter();
            all.map(|host| unserved_artifact(verification, &snapshot, host))
                .collect::<Vec<_>>()
        },
    );
    let objection = |(host, unserved): (&Arc<Host>, Option<Problem>)| {
        by_inventory(host).or_else(|| under_way(shared, host)).or(unserved)
    };
    hosts.iter().zip(unserved).filter_map(objection).collect()
}

fn problem(host: &Host, what: &str, help: &str) -> Problem {
    Problem {
        help: Some(help.to_owned()),
        file: Some(host.origin.file.to_string()),
        line: Some(host.origin.line),
        ..Problem::new(format!("host {} {what}", host.name))
    }
}

fn by_inventory(host: &Host) -> Option<Problem> {
    let target = host.settings.boot.as_ref().map_or(BootTarget::Local, |boot| boot.value);
    if host.locked {
        let help = "take `locked = true` away, reload, and arm it then";
        Some(problem(host, "is locked to its disk", help))
    } else if target != BootTarget::Install {
        let what = format!("boots `{target}`, and only a host with boot = \"install\" can be armed");
        let help = "set boot = \"install\" at the host or its profile, reload, and arm it then";
        Some(problem(host, &what, help))
    } else if host.settings.script.is_none() {
        let help = "give it a `script`, such as script = \"debian-installer\", reload, and arm it then";
        Some(problem(host, "has no script to install with", help))
    } else {
        None
    }
}

fn under_way(shared: &Shared, host: &Host) -> Option<Problem> {
    let record = shared.lease_table().arming().record(host).cloned()?;
    let HostState::Installing(install) = &record.state else {
        return None;
    };
    let what = format!("is being installed: {}", install.last);
    let help = format!(
        "`bootwright hosts {0}` shows how far it is; if it is dead, `bootwright disarm {0}` first",
        host.name
    );
    Some(problem(host, &what, &help))
}

fn unserved_artifact(verification: &Verification, snapshot: &Snapshot, host: &Host) -> Option<Problem> {
    let named = host.settings.image.as_ref()?;
    let Some(image) = snapshot.images.get(&named.value) else {
        let what = format!("is to install image {}, which is not there", named.value);
        return Some(problem(host, &what, "`bootwright image list` shows those that are"));
    };
    image.artifacts().find_map(|artifact| {
        let why = match verification.state(image, artifact) {
            VerificationState::Verified { .. } | VerificationState::Pending { .. } => return None,
            VerificationState::Mismatch { .. } => "its bytes are not those of its sha256".to_owned(),
            VerificationState::Unreadable { reason } => reason,
        };
        let what = format!(
            "is to install image {}/{}, which is not served: {why}",
            image.name, artifact.file
        );
        Some(problem(
            host,
            &what,
            "`bootwright status` shows what is wrong with images; mend it, and arm it then",
        ))
    })
}

fn unarmed(error: ArmingError) -> AdminRefusal {
    let refusal = |code, detail: String| AdminRefusal::new(code, detail);
    match error {
        ArmingError::NotStored(error) => refusal(
            RefusalCode::NotStored,
            format!("nothing was armed, because the store did not take it: {error}"),
        )
        .with_help("`bootwright status` shows how the store is"),
        full @ ArmingError::TooMany => refusal(RefusalCode::NotStored, format!("nothing was armed: {full}")),
        begun @ ArmingError::UnderWay(_) => refusal(RefusalCode::NotArmable, format!("nothing was armed: {begun}")),
    }
}

fn undisarmed(error: ArmingError) -> AdminRefusal {
    let detail =
        format!("disarmed, but the store did not take it, and a restart before it does arms it again: {error}");
    AdminRefusal::new(RefusalCode::NotStored, detail)
        .with_help("`bootwright status` shows how the store is; it is written once it can be")
}
