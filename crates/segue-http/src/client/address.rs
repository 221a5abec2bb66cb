//! Which addresses belong to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom an address belongs to, as far as it matters for who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Anybody's on the Internet.
    Public,
    /// This network's or this machine's: allowed where a policy names its host.
    Private(&'static str),
    /// What clouds tell their machines about themselves, keys among it: allowed only where a policy names this very address.
    Metadata,
    /// Nobody's: never allowed.
    Nobody,
}

/// Metadata services outside of the link-local networks.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whose is it? An IPv4 address inside an IPv6 one counts as itself.
pub(super) fn scope(address: IpAddr) -> Scope {
    match plain(address) {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

/// Without the clothes of IPv6 that an IPv4 address may wear: mapped, compatible, NAT64, 6to4.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let at = six.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match at {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => v4(high, low),
        _ => address,
    }
}

fn scope_v4(address: Ipv4Addr) -> Scope {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if METADATA_V4.contains(&address) => Scope::Metadata,
        (0, ..) | (224..=255, ..) => Scope::Nobody,
        (127, ..) => Scope::Private("a loopback address"),
        (169, 254, _) => Scope::Metadata,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Scope::Private("a private address"),
        (100, 64..=127, _) => Scope::Private("an address shared behind a carrier"),
        (198, 18..=19, _) => Scope::Private("an address for measurements"),
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => Scope::Private("a reserved address"),
        _ => Scope::Public,
    }
}

fn scope_v6(address: Ipv6Addr) -> Scope {
    let at = address.segments();
    match at {
        _ if METADATA_V6.contains(&address) => Scope::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => Scope::Nobody,
        [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Private("a loopback address"),
        [0xff00..=0xffff, ..] => Scope::Nobody,
        [0xfe80..=0xfebf, ..] => Scope::Metadata,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Scope::Private("a private address"),
        // 2000::/3 is what is handed out; in it, 2001::/23 and 2001:db8::/32 are not for hosts.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Scope::Private("a reserved address"),
        [0x2000..=0x3fff, ..] => Scope::Public,
        _ => Scope::Private("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Scope {
        scope(text.parse().expect("an address"))
    }

    #[test]
    fn what_is_public() {
        for public in ["1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"]
        {
            assert_eq!(of(public), Scope::Public, "{public}");
        }
    }

    #[test]
    fn what_is_ours_alone() {
        for private in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::ffff:0:127.0.0.1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b:1::1",
        ] {
            assert!(matches!(of(private), Scope::Private(_)), "{private}: {:?}", of(private));
        }
    }

    #[test]
    fn what_a_machine_is_told_about_itself() {
        for metadata in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
        ] {
            assert_eq!(of(metadata), Scope::Metadata, "{metadata}");
        }
    }

    #[test]
    fn what_is_nobody_s() {
        for nobody in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.0"] {
            assert_eq!(of(nobody), Scope::Nobody, "{nobody}");
        }
    }
}
