//! `make sim`: lives through histories, from the first seed on, on all processors.
//!
//! Ends with one line of JSON. `seed=n` tells one history instead; `mutant=Name` gives it a defect.

use squall_sim::{History, Mutant, run, traced};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NS_PER_HOUR: f64 = 3.6e12;
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What many histories had in them.
#[derive(Default)]
struct Sum {
    seeds: u64,
    events: u64,
    crashes: u64,
    pauses: u64,
    resumed: u64,
    parted: u64,
    acked: u64,
    dead: u64,
    hours: f64,
    violations: Vec<u64>,
}

impl Sum {
    fn add(&mut self, history: &History) {
        self.seeds += 1;
        self.events += history.events;
        self.crashes += history.crashes;
        self.pauses += history.pauses;
        self.resumed += history.resumed;
        self.parted += history.parted;
        (self.acked, self.dead) = (self.acked + history.acked as u64, self.dead + history.dead as u64);
        self.hours += history.end_ns as f64 / NS_PER_HOUR;
        if history.violation.is_some() {
            self.violations.push(history.seed);
        }
    }

    fn to_json(&self) -> String {
        format!(
            "{{\"seeds\": {}, \"events\": {}, \"crashes\": {}, \"pauses\": {}, \"streams_resumed\": {}, \
             \"links_given_up\": {}, \"acked\": {}, \"dead\": {}, \"simulated_hours\": {:.0}, \"violations\": {:?}}}",
            self.seeds,
            self.events,
            self.crashes,
            self.pauses,
            self.resumed,
            self.parted,
            self.acked,
            self.dead,
            self.hours,
            self.violations
        )
    }
}

struct Wanted {
    first: u64,
    seeds: u64,
    seed: Option<u64>,
    mutant: Option<Mutant>,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted = Wanted { first: 0, seeds: 5_000, seed: None, mutant: None };
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').ok_or("what is wanted is said as name=value")?;
        let number = || value.parse().map_err(|_| format!("{name}={value}: {value:?} is not a number"));
        match name {
            "from" => wanted.first = number()?,
            "seeds" => wanted.seeds = number()?,
            "seed" => wanted.seed = Some(number()?),
            "mutant" => {
                let known = Mutant::ALL.into_iter().map(|(mutant, _, _)| mutant);
                let found = known.into_iter().find(|mutant| format!("{mutant:?}") == value);
                wanted.mutant = Some(found.ok_or_else(|| format!("there is no mutant {value:?}"))?);
            }
            _ => return Err(format!("{name:?} is none of: from, seeds, seed, mutant")),
        }
    }
    Ok(wanted)
}

fn tell(seed: u64, mutant: Option<Mutant>, whole: bool) -> bool {
    let (history, lines) = traced(seed, mutant, whole);
    lines.iter().for_each(|line| println!("{line}"));
    println!("{history:#?}");
    history.violation.is_none()
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(defect) => {
            eprintln!("{defect}");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = wanted.seed {
        return if tell(seed, wanted.mutant, true) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (next, sum, is_over) = (AtomicU64::new(wanted.first), Mutex::new(Sum::default()), AtomicBool::new(false));
    let last = wanted.first + wanted.seeds;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            while !is_over.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= last {
                    break;
                }
                let history = run(seed, wanted.mutant);
                let mut sum = sum.lock().expect("no thread has panicked");
                sum.add(&history);
                if let Some(violation) = &history.violation {
                    eprintln!("seed {seed}: {} {:?}: {}", violation.law.number(), violation.law, violation.what);
                    is_over.store(sum.violations.len() >= 10, Ordering::Relaxed);
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut said = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let sum = sum.lock().expect("no thread has panicked");
                eprintln!("{} of {} seeds, {} violations", sum.seeds, wanted.seeds, sum.violations.len());
            }
        }
    });
    let sum = sum.into_inner().expect("no thread has panicked");
    if let Some(seed) = sum.violations.iter().min() {
        tell(*seed, wanted.mutant, false);
    }
    println!("{}", sum.to_json());
    if sum.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
