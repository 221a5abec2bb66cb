//! The hosts of this network that may be reached all the same.

use std::net::IpAddr;

use super::address::{Scope, plain, scope};

/// Hosts that need not be public: names, addresses, and networks (`10.0.0.0/8`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AllowList(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    Name(String),
    Network { address: IpAddr, bits: u8 },
}

impl AllowList {
    /// Reads an entry each; gives back the first that is none.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        entries.into_iter().map(|text| entry(text).ok_or_else(|| text.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    /// Those of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// May this address be reached? `name`: the host that led to it, if it was a name. Otherwise why not.
    pub(super) fn check(&self, name: Option<&str>, address: IpAddr) -> Result<(), &'static str> {
        match scope(address) {
            Scope::Public => Ok(()),
            Scope::Nobody => Err("an address that is no host's"),
            Scope::Metadata if self.0.iter().any(|entry| entry.is_exactly(address)) => Ok(()),
            Scope::Metadata => Err("an address of the link or of a metadata service"),
            Scope::Private(_) if self.0.iter().any(|entry| entry.covers(name, address)) => Ok(()),
            Scope::Private(what) => Err(what),
        }
    }
}

impl Entry {
    fn covers(&self, name: Option<&str>, address: IpAddr) -> bool {
        match (self, name) {
            (Self::Name(own), Some(name)) => own.eq_ignore_ascii_case(name.trim_end_matches('.')),
            (Self::Name(_), None) => false,
            (Self::Network { address: network, bits }, _) => is_in(plain(address), *network, *bits),
        }
    }

    fn is_exactly(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network { address: own, bits } if *own == plain(address) && *bits == width(*own))
    }
}

fn entry(text: &str) -> Option<Entry> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let address = plain(address);
        return Some(Entry::Network { address, bits: width(address) });
    }
    if let Some((address, bits)) = text.split_once('/') {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        return (bits <= width(address)).then_some(Entry::Network { address, bits });
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // What ends in a number would be read as an address.
    let last = text.trim_end_matches('.').rsplit('.').next()?;
    let is_number = last.chars().all(|c| c.is_ascii_digit());
    (!text.is_empty() && text.chars().all(is_name) && !is_number)
        .then(|| Entry::Name(text.trim_end_matches('.').to_ascii_lowercase()))
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32 - u32::from(bits);
            (address.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128 - u32::from(bits);
            (address.to_bits() ^ network.to_bits()).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        AllowList::parse(entries.iter().copied()).expect("a list")
    }

    fn is_allowed(list: &AllowList, name: Option<&str>, address: &str) -> bool {
        list.check(name, address.parse().expect("an address")).is_ok()
    }

    #[test]
    fn a_name_opens_what_it_leads_to() {
        let list = list(&["Model.Internal"]);
        assert!(is_allowed(&list, Some("model.internal"), "10.0.0.7"));
        assert!(is_allowed(&list, Some("model.internal."), "::ffff:10.0.0.7"));
        assert!(!is_allowed(&list, Some("other.internal"), "10.0.0.7"));
        assert!(!is_allowed(&list, None, "10.0.0.7"));
        assert!(!is_allowed(&list, Some("model.internal"), "169.254.169.254"), "a name may be led anywhere");
        assert!(!is_allowed(&list, Some("model.internal"), "0.0.0.0"));
    }

    #[test]
    fn addresses_and_networks() {
        let list = list(&["127.0.0.1", "10.1.0.0/16", "[::1]", "fd00::/8", "169.254.169.254", "0.0.0.0/0"]);
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.255.1", true),
            ("::1", true),
            ("fd12::1", true),
            ("169.254.169.254", true),
            ("169.254.169.253", false),
            ("fd00:ec2::254", false),
            ("0.0.0.0", false),
            ("fe80::1", false),
            ("fc00::1", false),
        ] {
            assert_eq!(is_allowed(&list, None, address), allowed, "{address}");
        }
        assert!(!is_allowed(&self::list(&["10.1.0.0/16"]), None, "10.2.0.1"));
        assert!(!is_allowed(&AllowList::default(), None, "127.0.0.1"));
    }

    #[test]
    fn what_is_no_host() {
        for wrong in ["", "http://x", "10.0.0.0/33", "::/129", "a b", "2130706433", "0x7f.1", "host:80", "*"] {
            assert_eq!(AllowList::parse([wrong]), Err(wrong.to_owned()), "{wrong}");
        }
    }
}
