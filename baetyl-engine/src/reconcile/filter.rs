//! Whose applications are mine: the split between init and core (edge.md 6.2). Pure.

use baetyl_core_lib::application::{Role, Scope};

/// What every application of core's own carries in its name.
const CORE: &str = "baetyl-core";

/// Whether this role makes, updates and removes this application.
pub fn manages(role: Role, scope: Scope, name: &str) -> bool {
    let core = scope == Scope::System && name.contains(CORE);
    match role {
        Role::Core => !core,
        Role::Init => core,
        Role::Whole => true,
    }
}

/// The scopes that this role looks at.
pub const fn scopes(role: Role) -> &'static [Scope] {
    match role {
        Role::Core | Role::Whole => &Scope::ALL,
        Role::Init => &[Scope::System],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_has_exactly_one_of_init_and_core() {
        for name in ["baetyl-core-8xk2mq7ab", "baetyl-init-1", "baetyl-broker", "my-baetyl-core", "web"] {
            for scope in Scope::ALL {
                assert_ne!(manages(Role::Core, scope, name), manages(Role::Init, scope, name), "{name}");
            }
        }
    }

    #[test]
    fn an_application_of_the_user_is_never_for_init() {
        assert!(!manages(Role::Init, Scope::User, "baetyl-core-fake"));
        assert!(manages(Role::Core, Scope::User, "baetyl-core-fake"));
    }
}
