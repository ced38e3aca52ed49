//! From a report to what is sent, and from its answer to the desire. Pure.

use baetyl_core_lib::application::Role;
use baetyl_core_lib::shadow::rebuild::{Sent, rebuild, rebuild_sysapps};
use baetyl_core_lib::spec::{AppInfo, Delta, Desire, Report, Section, Timestamp};

/// Whether everything is known that a report must say; before that, what is missing would look removed.
pub(super) const fn is_whole(report: &Report, role: Role) -> bool {
    match role {
        Role::Core | Role::Whole => {
            matches!((&report.apps, &report.sysapps), (Section::Is(_), Section::Is(_)))
        }
        Role::Init => matches!(&report.sysapps, Section::Is(_)),
    }
}

/// The report as it is sent: stamped, and its lists in the order of the stored desire, which the original
/// cloud compares too.
pub(super) fn prepare(report: &Report, desire: &Desire, now: Timestamp) -> (Report, Sent) {
    let mut report = report.clone();
    report.time = Section::Is(now);
    order(&mut report.apps, desire.apps.as_deref());
    order(&mut report.sysapps, desire.sysapps.as_deref());
    let sent = Sent { apps: report.apps.value().cloned(), sysapps: report.sysapps.value().cloned() };
    (report, sent)
}

/// The desire that an answer amounts to.
pub(super) fn desired(stored: &Desire, sent: &Sent, answer: &Delta, role: Role) -> Desire {
    match role {
        Role::Core | Role::Whole => rebuild(stored, sent, answer),
        Role::Init => rebuild_sysapps(stored, sent, answer),
    }
}

fn order(list: &mut Section<Vec<AppInfo>>, desired: Option<&[AppInfo]>) {
    if let (Section::Is(list), Some(desired)) = (list, desired) {
        let place = |app: &AppInfo| desired.iter().position(|other| other.name == app.name);
        // What is not desired comes last, in the order in which it came.
        list.sort_by_cached_key(|app| place(app).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(names: &[&str]) -> Vec<AppInfo> {
        names.iter().map(|name| AppInfo::new(*name, "1")).collect()
    }

    #[test]
    fn lists_go_out_in_the_order_of_the_desire_and_strangers_last() {
        let report = Report {
            apps: Section::Is(apps(&["x", "a", "b", "y", "c"])),
            sysapps: Section::Is(apps(&["s", "r"])),
            ..Report::default()
        };
        let desire = Desire { apps: Some(apps(&["c", "b", "a"])), ..Desire::default() };
        let (report, sent) = prepare(&report, &desire, Timestamp::from_unix(7));
        assert_eq!(sent.apps, Some(apps(&["c", "b", "a", "x", "y"])));
        assert_eq!(sent.sysapps, Some(apps(&["s", "r"])));
        assert_eq!(report.time, Section::Is(Timestamp::from_unix(7)));
        assert_eq!(report.apps.into_value(), sent.apps);
    }

    #[test]
    fn init_takes_the_systems_applications_only() {
        let stored = Desire { apps: Some(apps(&["kept"])), sysapps: Some(vec![]), ..Desire::default() };
        let sent = Sent { apps: None, sysapps: Some(vec![]) };
        let answer = Delta {
            apps: Section::Is(apps(&["others"])),
            sysapps: Section::Is(apps(&["core"])),
            nodeprops: Section::Is([("a".to_owned(), "1".into())].into()),
            ..Delta::default()
        };
        let desire = desired(&stored, &sent, &answer, Role::Init);
        let expected =
            Desire { apps: Some(apps(&["kept"])), sysapps: Some(apps(&["core"])), ..Desire::default() };
        assert_eq!(desire, expected);
        assert_eq!(desired(&stored, &sent, &answer, Role::Core).apps, Some(apps(&["others"])));
    }

    #[test]
    fn a_report_is_whole_when_the_inventory_is_known() {
        let system = Report { sysapps: Section::Is(vec![]), ..Report::default() };
        assert!(is_whole(&system, Role::Init));
        assert!(!is_whole(&system, Role::Core));
        let both = Report { apps: Section::Is(vec![]), ..system };
        assert!(is_whole(&both, Role::Core));
        assert!(!is_whole(&Report::default(), Role::Init));
    }
}
