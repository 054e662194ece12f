//! Inheritance: which profiles a host is made of, and what they come to.
//!
//! Every profile is laid down once, parents from left to right before their child; what is laid
//! down later wins, so the right-most parent beats the others and the host beats all. `cmdline`
//! lists append in that order; `vars` merge by key.

use super::{
    causes::Whose,
    problems::{Problems, did_you_mean},
    raw::RawProfile,
};
use crate::boot::{
    resource::RESCUE_SCRIPT,
    snapshot::{BootSettings, Origin, Sourced},
};
use crate::model::{BootTarget, Name, limits::PROFILE_DEPTH_MAX};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The profiles of an inventory, free of circles.
pub(super) struct Profiles<'a> {
    by_name: HashMap<&'a str, &'a RawProfile>,
    resolved: HashMap<Vec<Name>, BootSettings>,
    used: HashSet<&'a str>,
    /// The names of `vars`, each once.
    words: HashSet<Arc<str>>,
    /// Every parent exists and no circle was found.
    all_sound: bool,
    /// Some profile could not be read: one that is not there may be it.
    misses_some: bool,
}

/// What a host or rule is made of.
pub(super) struct ResolvedSettings {
    pub(super) settings: BootSettings,
    /// No ancestor is missing: what is absent was never written.
    pub(super) is_complete: bool,
}

impl<'a> Profiles<'a> {
    /// Checks names and circles. A profile defined twice and a parent that does not exist are errors.
    pub(super) fn check(profiles: &'a [RawProfile], misses_some: bool, problems: &mut Problems) -> Profiles<'a> {
        let mut by_name: HashMap<&str, &RawProfile> = HashMap::new();
        for profile in profiles {
            let name = &profile.name;
            match by_name.get(name.value.as_str()) {
                Some(first) => {
                    let message = format_args!("profile `{}` is written twice", name.value);
                    problems.error(&name.origin, message, super::first_defined(&first.name.origin));
                }
                None => {
                    by_name.insert(name.value.as_str(), profile);
                }
            }
        }
        let mut checked = Profiles {
            by_name,
            resolved: HashMap::new(),
            used: HashSet::new(),
            words: HashSet::new(),
            all_sound: true,
            misses_some,
        };
        for profile in profiles {
            checked.check_parents(&profile.inherits, Whose::Profile(&profile.name.value), problems);
        }
        checked.cut_circles(profiles, problems);
        checked
    }

    fn check_parents(&self, parents: &[Sourced<Name>], whose: Whose<'_>, problems: &mut Problems) -> bool {
        let mut all_known = true;
        for parent in parents {
            if !self.by_name.contains_key(parent.value.as_str()) {
                let message = format_args!("{whose} names the profile `{}`, and there is none", parent.value);
                let mut known: Vec<&str> = self.by_name.keys().copied().collect();
                known.sort_unstable();
                let help = did_you_mean(
                    parent.value.as_str(),
                    known,
                    "write it as [profile.NAME], or correct the name",
                );
                if !self.misses_some {
                    problems.error(&parent.origin, message, help);
                }
                all_known = false;
            }
        }
        all_known
    }

    /// Says each circle once and forgets its profiles, so that resolving always ends.
    fn cut_circles(&mut self, profiles: &'a [RawProfile], problems: &mut Problems) {
        let mut done = HashSet::new();
        let mut condemned = HashSet::new();
        for profile in profiles {
            let mut path = Vec::new();
            self.walk(profile, &mut path, &mut done, &mut condemned, problems);
        }
        self.all_sound &= condemned.is_empty();
        for name in condemned {
            if let Some(profile) = self.by_name.get(name) {
                // Hosts that name it get no second complaint: it stays known, without parents.
                self.resolved
                    .insert(vec![profile.name.value.clone()], profile.own.clone());
            }
        }
    }

    fn walk(
        &self,
        profile: &'a RawProfile,
        path: &mut Vec<&'a str>,
        done: &mut HashSet<&'a str>,
        condemned: &mut HashSet<&'a str>,
        problems: &mut Problems,
    ) {
        let name = profile.name.value.as_str();
        if done.contains(name) {
            return;
        }
        if path.len() > PROFILE_DEPTH_MAX {
            let message = format_args!("profile `{name}` has ancestors more than {PROFILE_DEPTH_MAX} deep");
            problems.error(&profile.name.origin, message, "flatten the inheritance");
            condemned.extend(path.iter().copied());
            return;
        }
        path.push(name);
        for parent in &profile.inherits {
            let Some(found) = self.by_name.get(parent.value.as_str()) else {
                continue;
            };
            let circle = path.iter().position(|on_path| *on_path == found.name.value.as_str());
            match circle {
                Some(start) => {
                    let mut shown: Vec<&str> = path[start..].to_vec();
                    shown.push(found.name.value.as_str());
                    let message = format_args!("profiles inherit in a circle: {}", shown.join(" -> "));
                    problems.error(&parent.origin, message, "take one of them out of `inherits`");
                    condemned.extend(path[start..].iter().copied());
                }
                None => self.walk(found, path, done, condemned, problems),
            }
        }
        path.pop();
        done.insert(name);
    }

    /// What the named profiles and `own` come to.
    pub(super) fn resolve(
        &mut self,
        parents: &[Sourced<Name>],
        own: &BootSettings,
        whose: Whose<'_>,
        problems: &mut Problems,
    ) -> ResolvedSettings {
        let all_known = self.check_parents(parents, whose, problems);
        let key: Vec<Name> = parents.iter().map(|parent| parent.value.clone()).collect();
        if !self.resolved.contains_key(&key) {
            let resolved = self.merge(&key);
            self.resolved.insert(key.clone(), resolved);
        }
        let mut settings = self.resolved.get(&key).cloned().unwrap_or_default();
        overlay(&mut settings, own, &mut self.words);
        if settings.script.is_none()
            && let Some(boot) = settings.boot.as_ref().filter(|boot| boot.value == BootTarget::Rescue)
        {
            settings.script = rescue_script(&boot.origin);
        }
        ResolvedSettings {
            settings,
            is_complete: self.all_sound && all_known,
        }
    }

    /// The profiles that these names come to, each once: what is laid down later wins.
    pub(super) fn in_order<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Vec<&'a RawProfile> {
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            self.visit(name.as_str(), &mut order, &mut seen, 0);
        }
        order
    }

    fn merge(&mut self, names: &[Name]) -> BootSettings {
        let order = self.in_order(names);
        let mut settings = BootSettings::default();
        for profile in order {
            self.used.insert(profile.name.value.as_str());
            overlay(&mut settings, &profile.own, &mut self.words);
        }
        settings
    }

    fn visit(&self, name: &str, order: &mut Vec<&'a RawProfile>, seen: &mut HashSet<&'a str>, depth: usize) {
        let Some(profile) = self.by_name.get(name) else {
            return;
        };
        if depth > PROFILE_DEPTH_MAX || !seen.insert(profile.name.value.as_str()) {
            return;
        }
        for parent in &profile.inherits {
            self.visit(parent.value.as_str(), order, seen, depth + 1);
        }
        order.push(profile);
    }

    /// Profiles that neither a host nor a rule nor one of their profiles names.
    pub(super) fn unused(&self, profiles: &'a [RawProfile]) -> impl Iterator<Item = &'a RawProfile> {
        profiles
            .iter()
            .filter(|profile| !self.used.contains(profile.name.value.as_str()))
    }
}

/// The script of who is set to rescue and names none.
pub(super) fn rescue_script(origin: &Origin) -> Option<Sourced<Name>> {
    let value = RESCUE_SCRIPT.parse().ok()?;
    let origin = origin.clone();
    Some(Sourced { value, origin })
}

fn overlay(below: &mut BootSettings, above: &BootSettings, words: &mut HashSet<Arc<str>>) {
    fn win<T: Clone>(below: &mut Option<T>, above: &Option<T>) {
        if above.is_some() {
            below.clone_from(above);
        }
    }
    let BootSettings {
        boot,
        image,
        script,
        answer,
        loaders,
        cmdline,
        options,
        install_timeout,
        disk,
        grow,
        after,
        vars,
    } = above;
    // A live system of ours: whoever says rescue, and no script of theirs, does not mean that of an installer which
    // stands in a profile below.
    if script.is_none() && boot.as_ref().is_some_and(|boot| boot.value == BootTarget::Rescue) {
        below.script = None;
    }
    win(&mut below.boot, boot);
    win(&mut below.image, image);
    win(&mut below.script, script);
    win(&mut below.answer, answer);
    win(&mut below.install_timeout, install_timeout);
    // Whole: a rule of which a part is a profile's and a part the host's is none that anybody wrote.
    win(&mut below.disk, disk);
    win(&mut below.grow, grow);
    win(&mut below.after, after);
    if !loaders.is_empty() {
        below.loaders.clone_from(loaders);
    }
    below.cmdline.extend(cmdline.iter().cloned());
    for (code, option) in options {
        below.options.insert(*code, option.clone());
    }
    below.vars = below.vars.below(vars, |word| match words.get(word) {
        Some(known) => Arc::clone(known),
        None => {
            words.insert(Arc::clone(word));
            Arc::clone(word)
        }
    });
}
