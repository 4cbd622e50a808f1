use tempfile::TempDir;

use super::*;
use crate::{config::Allowance, limit::moment::DAY};

/// A limiter, a clock that is set by hand, and where quotas are kept.
struct Story {
    limiter: Arc<Limiter>,
    now: Moment,
    folder: TempDir,
    allowances: Allowances,
}

fn story(allowances: Allowances) -> Story {
    let folder = tempfile::tempdir().unwrap();
    // Today, since quotas are written for the day of the real clock.
    let now = Moment::now();
    let limiter = Limiter::open(&allowances, folder.path().join("quotas.json"), now).unwrap();
    Story { limiter, now, folder, allowances }
}

impl Story {
    fn call(&self, tenant: &str, agent: &str) -> Result<Entry, Limited> {
        self.limiter.enter(&tenant.into(), &agent.parse().unwrap(), self.now)
    }

    /// `ok`, or the limit and the milliseconds to wait.
    fn told(&self, tenant: &str, agent: &str) -> (&'static str, u128) {
        match self.call(tenant, agent) {
            Ok(_) => ("ok", 0),
            Err(limited) => (limited.scope.text(), limited.retry_after.as_millis()),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.calendar += time;
    }

    fn restarted(self) -> Self {
        self.limiter.save();
        let file = self.folder.path().join("quotas.json");
        let limiter = Limiter::open(&self.allowances, file, self.now).unwrap();
        Self { limiter, ..self }
    }
}

fn rate(text: &str) -> Allowance {
    Allowance { rate: Some(text.parse().unwrap()), ..Allowance::default() }
}

const ECHO: &str = "echo@1.0.0/echo";
const OK: (&str, u128) = ("ok", 0);

#[test]
fn a_tenant_over_its_rate_waits_as_long_as_told_and_others_do_not() {
    let mut story = story(Allowances { tenant: rate("10/s burst 2"), ..Allowances::default() });
    assert_eq!([story.told("a", ECHO), story.told("a", ECHO)], [OK, OK]);
    assert_eq!(story.told("a", ECHO), ("tenant_rate", 100));
    assert_eq!(story.told("b", ECHO), OK);
    story.wait(Duration::from_millis(99));
    assert_eq!(story.told("a", ECHO), ("tenant_rate", 1));
    story.wait(Duration::from_millis(1));
    assert_eq!([story.told("a", ECHO), story.told("a", ECHO)], [OK, ("tenant_rate", 100)]);
}

#[test]
fn a_call_gives_its_place_back_when_it_is_dropped() {
    let concurrent = Allowance { concurrent: Some(1), ..Allowance::default() };
    for (allowances, scope) in [
        (Allowances { tenant: concurrent, ..Allowances::default() }, "tenant_concurrent"),
        (Allowances { agent: concurrent, ..Allowances::default() }, "agent_concurrent"),
    ] {
        let story = story(allowances);
        let running = story.call("a", ECHO).unwrap();
        assert_eq!(story.told("a", ECHO), (scope, 1000));
        let others = [story.told("b", ECHO), story.told("a", "echo@1.0.0/aecho")];
        assert_eq!(
            others.map(|told| told == OK),
            [scope == "tenant_concurrent", scope == "agent_concurrent"]
        );
        drop(running);
        assert_eq!(story.told("a", ECHO), OK);
    }
}

#[test]
fn a_refusal_takes_nothing_from_the_other_limits() {
    let mut story = story(Allowances {
        global_rate: Some("1/s burst 3".parse().unwrap()),
        tenant: Allowance { daily_calls: Some(2), concurrent: Some(5), ..rate("1/s burst 2") },
        agent: rate("1/h burst 1"),
        ..Allowances::default()
    });
    assert_eq!(story.told("a", ECHO), OK);
    for _ in 0..50 {
        assert_eq!(story.told("a", ECHO).0, "agent_rate");
    }
    // Had those fifty cost anything, the tenant or everybody would be over their limits now.
    assert_eq!(story.told("a", "echo@1.0.0/aecho"), OK);
    for _ in 0..50 {
        assert_eq!(story.told("a", "echo@1.0.0/other").0, "tenant_rate");
    }
    assert_eq!(story.told("b", "echo@1.0.0/other"), OK);
    assert_eq!(story.told("c", "echo@1.0.0/another").0, "global_rate");
    story.wait(Duration::from_secs(3));
    assert_eq!(story.told("a", "echo@1.0.0/another").0, "tenant_daily_calls");
    assert_eq!(story.told("c", "echo@1.0.0/another"), OK);
}

#[test]
fn named_tenants_and_agents_have_limits_of_their_own_over_all_versions() {
    let story = story(Allowances {
        tenant: rate("1/h"),
        tenants: [("big".to_owned(), rate("3/h burst 3")), ("free".to_owned(), Allowance::default())].into(),
        agents: [("echo/echo".to_owned(), rate("4/h burst 4")), ("echo".to_owned(), rate("1/h"))].into(),
        ..Allowances::default()
    });
    assert_eq!([story.told("a", "x@1/y"), story.told("b", "x@1/y")], [OK, OK]);
    assert_eq!(story.told("a", "x@1/y").0, "tenant_rate");
    for _ in 0..3 {
        assert_eq!(story.told("big", "x@1/y"), OK);
    }
    assert_eq!(story.told("big", "x@1/y").0, "tenant_rate");
    for version in ["1.0.0", "1.0.0", "2.0.0", "3.0.0"] {
        assert_eq!(story.told("free", &format!("echo@{version}/echo")), OK);
    }
    assert_eq!(story.told("free", "echo@4.0.0/echo").0, "agent_rate");
    assert_eq!(story.told("free", "other@1.0.0/echo"), OK, "the bare name, of another package");
    assert_eq!(story.told("free", "other@2.0.0/echo").0, "agent_rate");
}

#[test]
fn a_quota_ends_with_its_day() {
    let quota = Allowance { daily_calls: Some(2), daily_tokens: Some(100), ..Allowance::default() };
    let mut story = story(Allowances { tenant: quota, ..Allowances::default() });
    story.now.calendar = Duration::from_secs(20_000 * DAY + DAY - 10);
    assert_eq!([story.told("a", ECHO), story.told("a", ECHO)], [OK, OK]);
    assert_eq!(story.told("a", ECHO), ("tenant_daily_calls", 10_000));
    assert!(story.limiter.counts_tokens("b"));
    assert_eq!(story.told("b", ECHO), OK);
    story.limiter.charge(&"b".into(), 100, story.now);
    assert_eq!(story.told("b", ECHO), ("tenant_daily_tokens", 10_000));
    story.wait(Duration::from_secs(10));
    assert_eq!([story.told("a", ECHO), story.told("b", ECHO)], [OK, OK]);
}

#[test]
fn quotas_survive_a_restart_and_yesterdays_do_not_count() {
    let quota = Allowance { daily_calls: Some(3), ..Allowance::default() };
    let story = story(Allowances { tenant: quota, ..Allowances::default() });
    assert_eq!([story.told("a", ECHO), story.told("a", ECHO), story.told("b", ECHO)], [OK, OK, OK]);
    let mut story = story.restarted();
    assert_eq!(
        [story.told("a", ECHO), story.told("a", ECHO)],
        [OK, ("tenant_daily_calls", story.left_of_day())]
    );
    story.wait(Duration::from_secs(DAY));
    let file = story.folder.path().join("quotas.json");
    let next = Limiter::open(&story.allowances, file, story.now).unwrap();
    assert!(next.enter(&"a".into(), &ECHO.parse().unwrap(), story.now).is_ok());
}

impl Story {
    fn left_of_day(&self) -> u128 {
        self.now.until_tomorrow().as_millis()
    }
}

#[test]
fn ten_thousand_tenants_are_forgotten_when_they_are_idle() {
    let mut story = story(Allowances { tenant: rate("1/s"), ..Allowances::default() });
    let held = story.call("busy", ECHO).unwrap();
    for number in 0..10_000 {
        assert_eq!(story.told(&format!("tenant-{number}"), ECHO), OK);
    }
    let count = |story: &Story| {
        let mut count = 0;
        story.limiter.accounts.each(|_, _| count += 1);
        count
    };
    assert_eq!(count(&story), 10_001);
    story.limiter.sweep(story.now);
    assert_eq!(count(&story), 10_001, "their buckets are not full yet");
    story.wait(Duration::from_secs(1));
    story.limiter.sweep(story.now);
    assert_eq!(count(&story), 1, "whoever has a call under way is not forgotten");
    drop(held);
    story.limiter.sweep(story.now);
    assert_eq!(count(&story), 0);
}

#[test]
fn callers_read_their_own_limits_and_the_one_that_refused() {
    let story =
        story(Allowances { tenant: rate("2/h burst 2"), agent: rate("1/h"), ..Allowances::default() });
    let first = story.call("a", ECHO).unwrap().take_standing().unwrap();
    assert_eq!(first.policy, r#""tenant_rate";q=2;w=3600"#);
    assert_eq!(first.left, r#""tenant_rate";r=1;t=1800"#);
    let refused = story.call("a", ECHO).unwrap_err().standing;
    assert_eq!(refused.policy, r#""tenant_rate";q=2;w=3600, "agent_rate";q=1;w=3600"#);
    assert_eq!(refused.left, r#""tenant_rate";r=1;t=1800, "agent_rate";r=0;t=3600"#);
}

#[test]
fn many_threads_take_no_more_than_there_is() {
    let story = story(Allowances {
        global_rate: Some("1/h burst 500".parse().unwrap()),
        tenant: rate("1/h burst 300"),
        ..Allowances::default()
    });
    let taken: usize = std::thread::scope(|scope| {
        let story = &story;
        let caller = |tenant: &'static str| {
            scope.spawn(move || (0..400).filter(|_| story.told(tenant, ECHO) == OK).count())
        };
        let callers: Vec<_> = ["a", "a", "b", "b"].into_iter().map(caller).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    assert_eq!(taken, 500);
}

#[test]
fn under_other_allowances_what_was_used_and_what_runs_goes_on_to_count() {
    let quota =
        |calls, most| Allowance { daily_calls: Some(calls), concurrent: Some(most), ..rate("1/h burst 9") };
    let agent = |most| Allowance { concurrent: Some(most), ..Allowance::default() };
    let story = story(Allowances { tenant: quota(2, 2), agent: agent(2), ..Allowances::default() });
    let running = story.call("a", ECHO).unwrap();
    assert_eq!([story.told("a", ECHO).0, story.told("a", ECHO).0], ["ok", "tenant_daily_calls"]);
    let renewed = |story: Story, allowances: Allowances| {
        let limiter = story.limiter.renewed(&allowances).unwrap();
        Story { limiter, allowances, ..story }
    };
    let story = renewed(story, Allowances { tenant: quota(3, 1), agent: agent(2), ..Allowances::default() });
    assert_eq!(story.told("a", ECHO), ("tenant_concurrent", 1_000), "the former call still runs");
    let story = renewed(story, Allowances { tenant: quota(3, 2), agent: agent(1), ..Allowances::default() });
    assert_eq!(story.told("b", ECHO), ("agent_concurrent", 1_000), "at the agent, too");
    drop(running);
    assert_eq!(story.told("a", ECHO), OK);
    assert_eq!(story.told("a", ECHO).0, "tenant_daily_calls", "two before, one since");
    // Another pace begins with a full bucket; the same one goes on.
    let paced = |text: &str| Allowances { tenant: rate(text), ..Allowances::default() };
    let story = renewed(story, paced("1/h burst 1"));
    assert_eq!([story.told("a", ECHO).0, story.told("a", ECHO).0], ["ok", "tenant_rate"]);
    let story = renewed(story, Allowances { agent: agent(5), ..paced("1/h burst 1") });
    assert_eq!(story.told("a", ECHO).0, "tenant_rate");
    assert!(story.limiter.renewed(&Allowances::default()).is_none());
}
