//! Which customer of the billing side a tenant is.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// How customers of Stripe are named: a tenant that is called so is its own customer.
const OWN: &str = "cus_";

/// Tenants by their names, as read from a file of YAML (or JSON) that maps them to customers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Customers(BTreeMap<String, String>);

/// Why the file is not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CustomersError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It is no map of texts.
    #[error("{0} must map tenants to customers")]
    NoMap(PathBuf, #[source] serde_yaml::Error),
}

impl Customers {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, CustomersError> {
        let text =
            fs::read_to_string(path).map_err(|error| CustomersError::Unreadable(path.to_owned(), error))?;
        let read: Option<BTreeMap<String, String>> =
            serde_yaml::from_str(&text).map_err(|error| CustomersError::NoMap(path.to_owned(), error))?;
        Ok(Self(read.unwrap_or_default()))
    }

    /// The customer of a tenant, if it has one.
    pub(crate) fn of<'a>(&'a self, tenant: &'a str) -> Option<&'a str> {
        let given = self.0.get(tenant).map(String::as_str);
        given.or_else(|| tenant.starts_with(OWN).then_some(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_mapped_or_its_own_customer_or_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.yaml");
        fs::write(&path, "acme: cus_1\n\"cus_2\": cus_3\n").unwrap();
        let customers = Customers::read(&path).unwrap();
        assert_eq!(customers.of("acme"), Some("cus_1"));
        assert_eq!(customers.of("cus_2"), Some("cus_3"), "the file is stronger");
        assert_eq!(customers.of("cus_9"), Some("cus_9"));
        assert_eq!(customers.of("evil"), None);
        fs::write(&path, "").unwrap();
        assert_eq!(Customers::read(&path).unwrap(), Customers::default());
        fs::write(&path, "- acme\n").unwrap();
        assert!(matches!(Customers::read(&path), Err(CustomersError::NoMap(..))));
        assert!(matches!(Customers::read(&folder.path().join("no")), Err(CustomersError::Unreadable(..))));
    }
}
