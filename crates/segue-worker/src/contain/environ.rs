//! What of our environment a process inherits: a list, so that a key of ours never leaks by being there.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
};

/// The variables that every process gets: where programs, home and temporary files are, language, time zone, and where
/// the certificates and proxies of this machine are.
const PASSED_ON: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "LD_LIBRARY_PATH",
    "NO_COLOR",
    "SOURCE_DATE_EPOCH",
    "NO_PROXY",
    "no_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "XDG_CACHE_HOME",
];

/// Does every process get this variable?
pub fn is_passed_on(name: &str) -> bool {
    PASSED_ON.contains(&name) || name.starts_with("LC_")
}

/// Our environment, reduced to what every process gets and to the variables in `named`.
pub fn scrubbed_environment(named: &[impl AsRef<OsStr>]) -> BTreeMap<OsString, OsString> {
    env::vars_os()
        .filter(|(name, _)| {
            name.to_str().is_some_and(is_passed_on) || named.iter().any(|wanted| wanted.as_ref() == name.as_os_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_and_what_is_named_passes() {
        // Cargo sets these for every test.
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some() && env::var_os("CARGO_PKG_NAME").is_some());
        let environment = scrubbed_environment(&["CARGO_PKG_NAME"]);
        assert!(environment.contains_key(OsStr::new("PATH")));
        assert!(environment.contains_key(OsStr::new("CARGO_PKG_NAME")));
        assert!(!environment.contains_key(OsStr::new("CARGO_MANIFEST_DIR")));
    }
}
