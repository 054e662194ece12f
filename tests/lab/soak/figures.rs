//! The soak's figures: a line a minute with what the process takes and has done, and the summary at the end.

use super::acts::{Act, Part};
use super::met::{BESIDE_KIB_MAX, BESIDE_WHEN_WARM_KIB_MAX, Met, memory_of_machines_kib_max};
use super::site::Site;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};

const EVERY: Duration = Duration::from_secs(60);
/// Open files that a daemon at rest may have more than when it was young: connections that are waited out.
const FILES_MORE_MAX: u64 = 64;
const COUNTERS: [&str; 5] = [
    "dhcp_replied",
    "tftp_completed",
    "tftp_silent",
    "http_completed",
    "http_aborted",
];

#[derive(Clone)]
struct Sample {
    elapsed: Duration,
    part: Part,
    pid: u32,
    rss_kb: u64,
    peak_kb: u64,
    files: u64,
    threads: u64,
    leases: u64,
    met: Met,
}

/// All of them.
pub struct Figures {
    file: File,
    began: Instant,
    samples: Vec<Sample>,
    acts: BTreeMap<&'static str, u32>,
    last_line: String,
}

impl Figures {
    pub fn open(folder: &Path, began: Instant) -> Figures {
        let mut file = File::create(folder.join("figures.tsv")).expect("a file in our own folder");
        let columns = "unix_s\telapsed_s\tpart\tpid\trss_kb\tpeak_kb\topen_files\tthreads\tleases\tbooted\tleased";
        writeln!(file, "{columns}\t{}", COUNTERS.join("\t")).expect("room for the figures");
        Figures {
            file,
            began,
            samples: Vec::new(),
            acts: BTreeMap::new(),
            last_line: String::new(),
        }
    }

    pub fn act(&mut self, act: &Act) {
        *self.acts.entry(act.kind()).or_default() += 1;
    }

    /// A line when a minute is over, or another part has begun; whether there was one.
    pub fn sample_when_due(&mut self, site: &Site, part: Part) -> bool {
        let due = self
            .samples
            .last()
            .is_none_or(|last| last.part != part || self.began.elapsed() >= last.elapsed + EVERY);
        if due {
            self.sample(site, part);
        }
        due
    }

    /// A line now.
    pub fn sample(&mut self, site: &Site, part: Part) {
        let Some(pid) = site.pid() else { return };
        let Ok(status) = site.status() else { return };
        let sample = Sample {
            elapsed: self.began.elapsed(),
            part,
            pid,
            rss_kb: told_by_kernel(pid, "VmRSS:"),
            peak_kb: told_by_kernel(pid, "VmHWM:"),
            files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |all| all.count() as u64),
            threads: told_by_kernel(pid, "Threads:"),
            leases: status["leases"].as_u64().unwrap_or_default(),
            met: site.met(),
        };
        let counters = COUNTERS.map(|name| status["counters"][name].as_u64().unwrap_or_default().to_string());
        let unix_s = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        let elapsed_s = sample.elapsed.as_secs();
        let Sample {
            rss_kb,
            peak_kb,
            files,
            threads,
            leases,
            met: Met { booted, leased },
            ..
        } = sample;
        writeln!(
            self.file,
            "{unix_s}\t{elapsed_s}\t{part:?}\t{pid}\t{rss_kb}\t{peak_kb}\t{files}\t{threads}\t{leases}\t{booted}\t{leased}\t{}",
            counters.join("\t")
        )
        .expect("room for the figures");
        self.last_line = format!(
            "pid {pid}: {:.1} MiB resident, {files} files, {threads} threads, {leases} leases",
            rss_kb as f64 / 1024.0
        );
        self.samples.push(sample);
    }

    pub fn last_line(&self) -> String {
        self.last_line.clone()
    }

    /// The samples of the process that lived on.
    fn long(&self) -> Vec<&Sample> {
        let long = || self.samples.iter().filter(|sample| sample.part == Part::Long);
        let pid = long().map(|sample| sample.pid).next_back();
        long().filter(|sample| Some(sample.pid) == pid).collect()
    }

    /// What its open files and its memory say of leaks.
    pub fn leaks(&self) -> Vec<String> {
        let long = self.long();
        let (Some(&young), Some(&old)) = (long.first(), long.last()) else {
            return Vec::new();
        };
        let files = (old.files > young.files + FILES_MORE_MAX)
            .then(|| format!("open files grew from {} to {} in one life", young.files, old.files));
        let quarter = young.elapsed + (old.elapsed - young.elapsed) / 4;
        let warm = long
            .iter()
            .copied()
            .find(|sample| sample.elapsed >= quarter)
            .unwrap_or(old);
        let at = |sample: &Sample| (sample.rss_kb, sample.met);
        let since = [(young, BESIDE_KIB_MAX), (warm, BESIDE_WHEN_WARM_KIB_MAX)];
        let memory = since
            .into_iter()
            .filter_map(|(before, beside)| grew_too_far(at(before), at(old), beside));
        files.into_iter().chain(memory).collect()
    }

    /// The end, in words.
    pub fn summary(&self, done: u32, acknowledged: u64, broken: &[String]) -> Vec<String> {
        let most = |of: fn(&Sample) -> u64| self.samples.iter().map(of).max().unwrap_or_default();
        let acts: Vec<String> = self
            .acts
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let points = self.long().into_iter().map(hours_and_mib).collect::<Vec<_>>();
        let life = match (
            points.first(),
            points.last(),
            Life::of(points.iter().copied()).slope_mib_an_hour(),
        ) {
            (Some(first), Some(last), Some(slope)) => format!(
                "the process that lived on for {:.2} h: {:.1} MiB at its beginning, {:.1} at its end, and after \
                 its first quarter {slope:+.2} MiB an hour",
                last.0 - first.0,
                first.1,
                last.1
            ),
            _ => "no process lived on for long enough to tell its memory's line".to_owned(),
        };
        vec![
            format!(
                "{done} acts in {:.2} h: {}",
                self.began.elapsed().as_secs_f64() / 3600.0,
                acts.join(", ")
            ),
            format!(
                "at most {:.1} MiB at rest, {:.1} at any time, {} open files, {} threads, {} leases at once; \
                 {acknowledged} acknowledged to clients that were watched",
                most(|sample| sample.rss_kb) as f64 / 1024.0,
                most(|sample| sample.peak_kb) as f64 / 1024.0,
                most(|sample| sample.files),
                most(|sample| sample.threads),
                most(|sample| sample.leases)
            ),
            life,
            match broken {
                [] => "nothing was broken".to_owned(),
                some => format!("{} BROKEN, the first: {}", some.len(), some[0]),
            },
        ]
    }
}

/// Whether a process has more memory than comes with the machines that it met, and so many KiB beside; of both
/// moments what it took and what it had met.
pub fn grew_too_far(before: (u64, Met), now: (u64, Met), beside_kib_max: f64) -> Option<String> {
    let more = now.0 as f64 - before.0 as f64;
    let more_max = beside_kib_max + memory_of_machines_kib_max(before.1, now.1);
    (more > more_max).then(|| {
        format!(
            "memory grew from {} to {} KiB in one life, by {more:.0} and not {more_max:.0} at most: it had met {:?} \
             before, and {:?} then",
            before.0, now.0, before.1, now.1
        )
    })
}

/// A figure of a process, by its name in `/proc/PID/status`: 0 where there is none.
pub fn told_by_kernel(pid: u32, name: &str) -> u64 {
    let table = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = table.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

fn hours_and_mib(sample: &Sample) -> (f64, f64) {
    (sample.elapsed.as_secs_f64() / 3600.0, sample.rss_kb as f64 / 1024.0)
}

/// One process's memory over time: hours and MiB.
pub struct Life(Vec<(f64, f64)>);

impl Life {
    /// Without its first quarter, in which it grows to its size.
    pub fn of(samples: impl IntoIterator<Item = (f64, f64)>) -> Life {
        let mut points: Vec<(f64, f64)> = samples.into_iter().collect();
        if let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) {
            let warm = first.0 + (last.0 - first.0) / 4.0;
            points.retain(|point| point.0 >= warm);
        }
        Life(points)
    }

    /// By least squares; nothing where there are too few points.
    pub fn slope_mib_an_hour(&self) -> Option<f64> {
        let count = self.0.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| self.0.iter().map(of).sum::<f64>() / count;
        let (hours, mib) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = self.0.iter().map(|point| (point.0 - hours).powi(2)).sum();
        let shared: f64 = self.0.iter().map(|point| (point.0 - hours) * (point.1 - mib)).sum();
        (self.0.len() >= 3 && spread > 0.0).then(|| shared / spread)
    }
}
