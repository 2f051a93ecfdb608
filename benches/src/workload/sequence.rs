//! Who is asked for next: the same for the same seed, whatever the strategy.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, Zipf};

use super::file::Workload;

/// Whose token for what: a number below [`Workload::tokens`]. Users come first, each with its resources, then tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject(pub u32);

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A user's token for a resource.
    User {
        /// Which user.
        user: u32,
        /// Which resource.
        resource: u32,
    },
    /// The application's own token in a tenant for a resource.
    Application {
        /// Which tenant.
        tenant: u32,
        /// Which resource.
        resource: u32,
    },
}

impl Subject {
    /// All subjects of a workload.
    pub fn all(workload: &Workload) -> impl Iterator<Item = Self> + use<> {
        (0..u32::try_from(workload.tokens()).unwrap_or(u32::MAX)).map(Self)
    }

    /// What it is in `workload`.
    #[must_use]
    pub fn kind(self, workload: &Workload) -> SubjectKind {
        let subjects = &workload.subjects;
        let of_users = subjects.users * subjects.tokens_per_user;
        match self.0.checked_sub(of_users) {
            None => SubjectKind::User {
                user: self.0 / subjects.tokens_per_user,
                resource: self.0 % subjects.tokens_per_user,
            },
            Some(rest) => SubjectKind::Application {
                tenant: rest / subjects.resources_per_tenant,
                resource: rest % subjects.resources_per_tenant,
            },
        }
    }
}

/// What a task does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// How long it pauses first.
    pub pause: Duration,
    /// For whom it then asks.
    pub subject: Subject,
}

/// What one task of one process does, without end.
pub struct Sequence {
    random: StdRng,
    skew: Option<Zipf<f64>>,
    pause: Option<Exp<f64>>,
    users: u32,
    tokens_per_user: u32,
    tenants: u32,
    resources_per_tenant: u32,
}

impl Sequence {
    /// The steps of the task `task` of the process `process`.
    #[must_use]
    pub fn new(workload: &Workload, seed: u64, process: u32, task: u32) -> Self {
        let subjects = &workload.subjects;
        let mixed = seed ^ (u64::from(process) << 40) ^ (u64::from(task) << 20) ^ 0x746f_6b65_6e6b;
        let partitions = f64::from(subjects.users + subjects.tenants);
        let think = workload.load.think_milliseconds;
        Self {
            random: StdRng::seed_from_u64(mixed),
            skew: (subjects.zipf > 0.0)
                .then(|| Zipf::new(partitions, subjects.zipf).ok())
                .flatten(),
            pause: (think > 0.0).then(|| Exp::new(1.0 / think).ok()).flatten(),
            users: subjects.users,
            tokens_per_user: subjects.tokens_per_user,
            tenants: subjects.tenants,
            resources_per_tenant: subjects.resources_per_tenant,
        }
    }
}

impl Iterator for Sequence {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let partitions = self.users + self.tenants;
        let partition = match &self.skew {
            // Ranks begin at one.
            Some(skew) => (rank(skew.sample(&mut self.random)).saturating_sub(1)).min(partitions - 1),
            None => self.random.random_range(0..partitions),
        };
        let number = match partition.checked_sub(self.users) {
            None => partition * self.tokens_per_user + self.random.random_range(0..self.tokens_per_user),
            Some(tenant) => {
                self.users * self.tokens_per_user
                    + tenant * self.resources_per_tenant
                    + self.random.random_range(0..self.resources_per_tenant)
            }
        };
        let pause = self
            .pause
            .as_ref()
            .map_or(0.0, |pause| pause.sample(&mut self.random));
        Some(Step {
            pause: Duration::from_secs_f64((pause / 1000.0).min(600.0)),
            subject: Subject(number),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is a whole number from one to the number of partitions"
)]
fn rank(sample: f64) -> u32 {
    sample as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::presets;

    fn steps(seed: u64, process: u32, task: u32) -> Vec<Step> {
        let workload = presets::workload("web-front-end").unwrap();
        Sequence::new(&workload, seed, process, task).take(500).collect()
    }

    #[test]
    fn a_seed_gives_the_same_requests_again_and_another_gives_others() {
        assert_eq!(steps(7, 1, 2), steps(7, 1, 2));
        assert_ne!(steps(7, 1, 2), steps(8, 1, 2));
        assert_ne!(steps(7, 1, 2), steps(7, 2, 1));
    }

    #[test]
    fn a_few_are_asked_for_often_where_the_workload_says_so() {
        let first = steps(1, 0, 0).iter().filter(|step| step.subject.0 < 20).count();
        assert!(
            (150..450).contains(&first),
            "{first} of 500 are for the first ten users"
        );
        let workload = presets::workload("multi-tenant-daemon").unwrap();
        let even = Sequence::new(&workload, 1, 0, 0).take(4000);
        let first = even.filter(|step| step.subject.0 < 160).count();
        assert!(
            (300..500).contains(&first),
            "{first} of 4000 are for a tenth of the tokens"
        );
    }

    #[test]
    fn subjects_are_users_first_and_then_tenants() {
        let mut workload = presets::workload("web-front-end").unwrap();
        workload.subjects.tenants = 3;
        workload.subjects.resources_per_tenant = 5;
        assert_eq!(
            Subject(599).kind(&workload),
            SubjectKind::User {
                user: 299,
                resource: 1
            }
        );
        assert_eq!(
            Subject(600).kind(&workload),
            SubjectKind::Application {
                tenant: 0,
                resource: 0
            }
        );
        assert_eq!(
            Subject(614).kind(&workload),
            SubjectKind::Application {
                tenant: 2,
                resource: 4
            }
        );
        assert_eq!(Subject::all(&workload).count(), 615);
    }
}
