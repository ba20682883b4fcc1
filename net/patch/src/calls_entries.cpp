// SPDX-License-Identifier: BSL-1.0
// Accounts, groups, services and protocols: name services may ask a server for them.
#include "entry_lookup.hpp"
#include "interpose.hpp"
#include "libc.hpp"

namespace coir {

namespace {

/// A look-up by a name, which is copied, or by a number.
template <class Entry, class Key>
auto by(libc_function<int(Key, Entry*, char*, size_t, Entry**)>& genuine, std::type_identity_t<Key> key)
{
    using owned_key = std::conditional_t<std::is_pointer_v<Key>, std::string, Key>;
    return [&genuine, owned = owned_key{key}](Entry* entry, char* room, size_t size, Entry** found, int*) {
        if constexpr (std::is_pointer_v<Key>)
            return genuine(owned.c_str(), entry, room, size, found);
        else
            return genuine(owned, entry, room, size, found);
    };
}

/// Services are looked up for a protocol, or for any.
template <class Key>
auto service_by(libc_function<int(Key, const char*, servent*, char*, size_t, servent**)>& genuine,
                std::type_identity_t<Key> key, const char* protocol)
{
    using owned_key = std::conditional_t<std::is_pointer_v<Key>, std::string, Key>;
    return [&genuine, owned = owned_key{key}, of = optional_string{protocol}](servent* entry, char* room, size_t size,
                                                                              servent** found, int*) {
        if constexpr (std::is_pointer_v<Key>)
            return genuine(owned.c_str(), of.get(), entry, room, size, found);
        else
            return genuine(owned, of.get(), entry, room, size, found);
    };
}

} // namespace

COIR_INTERPOSE passwd* getpwnam(const char* name)
{
    return outside() ? libc.getpwnam(name) : look_up_static_entry<passwd>(by(libc.getpwnam_r, name), false);
}

COIR_INTERPOSE int getpwnam_r(const char* name, passwd* entry, char* room, size_t size, passwd** found)
{
    if (outside())
        return libc.getpwnam_r(name, entry, room, size, found);
    return look_up_entry(by(libc.getpwnam_r, name), entry, room, size, found, nullptr);
}

COIR_INTERPOSE passwd* getpwuid(uid_t id)
{
    return outside() ? libc.getpwuid(id) : look_up_static_entry<passwd>(by(libc.getpwuid_r, id), false);
}

COIR_INTERPOSE int getpwuid_r(uid_t id, passwd* entry, char* room, size_t size, passwd** found)
{
    if (outside())
        return libc.getpwuid_r(id, entry, room, size, found);
    return look_up_entry(by(libc.getpwuid_r, id), entry, room, size, found, nullptr);
}

COIR_INTERPOSE group* getgrnam(const char* name)
{
    return outside() || !name ? libc.getgrnam(name) : look_up_static_entry<group>(by(libc.getgrnam_r, name), false);
}

COIR_INTERPOSE int getgrnam_r(const char* name, group* entry, char* room, size_t size, group** found)
{
    if (outside() || !name)
        return libc.getgrnam_r(name, entry, room, size, found);
    return look_up_entry(by(libc.getgrnam_r, name), entry, room, size, found, nullptr);
}

COIR_INTERPOSE group* getgrgid(gid_t id)
{
    return outside() ? libc.getgrgid(id) : look_up_static_entry<group>(by(libc.getgrgid_r, id), false);
}

COIR_INTERPOSE int getgrgid_r(gid_t id, group* entry, char* room, size_t size, group** found)
{
    if (outside())
        return libc.getgrgid_r(id, entry, room, size, found);
    return look_up_entry(by(libc.getgrgid_r, id), entry, room, size, found, nullptr);
}

COIR_INTERPOSE spwd* getspnam(const char* name)
{
    return outside() || !name ? libc.getspnam(name) : look_up_static_entry<spwd>(by(libc.getspnam_r, name), false);
}

COIR_INTERPOSE int getspnam_r(const char* name, spwd* entry, char* room, size_t size, spwd** found)
{
    if (outside() || !name)
        return libc.getspnam_r(name, entry, room, size, found);
    return look_up_entry(by(libc.getspnam_r, name), entry, room, size, found, nullptr);
}

COIR_INTERPOSE protoent* getprotobyname(const char* name)
{
    return outside() || !name ? libc.getprotobyname(name)
                              : look_up_static_entry<protoent>(by(libc.getprotobyname_r, name), false);
}

COIR_INTERPOSE int getprotobyname_r(const char* name, protoent* entry, char* room, size_t size, protoent** found)
{
    if (outside() || !name)
        return libc.getprotobyname_r(name, entry, room, size, found);
    return look_up_entry(by(libc.getprotobyname_r, name), entry, room, size, found, nullptr);
}

COIR_INTERPOSE protoent* getprotobynumber(int number)
{
    return outside() ? libc.getprotobynumber(number)
                     : look_up_static_entry<protoent>(by(libc.getprotobynumber_r, number), false);
}

COIR_INTERPOSE int getprotobynumber_r(int number, protoent* entry, char* room, size_t size, protoent** found)
{
    if (outside())
        return libc.getprotobynumber_r(number, entry, room, size, found);
    return look_up_entry(by(libc.getprotobynumber_r, number), entry, room, size, found, nullptr);
}

COIR_INTERPOSE servent* getservbyname(const char* name, const char* protocol)
{
    if (outside() || !name)
        return libc.getservbyname(name, protocol);
    return look_up_static_entry<servent>(service_by(libc.getservbyname_r, name, protocol), false);
}

COIR_INTERPOSE int getservbyname_r(const char* name, const char* protocol, servent* entry, char* room, size_t size,
                                   servent** found)
{
    if (outside() || !name)
        return libc.getservbyname_r(name, protocol, entry, room, size, found);
    return look_up_entry(service_by(libc.getservbyname_r, name, protocol), entry, room, size, found, nullptr);
}

COIR_INTERPOSE servent* getservbyport(int port, const char* protocol)
{
    if (outside())
        return libc.getservbyport(port, protocol);
    return look_up_static_entry<servent>(service_by(libc.getservbyport_r, port, protocol), false);
}

COIR_INTERPOSE int getservbyport_r(int port, const char* protocol, servent* entry, char* room, size_t size,
                                   servent** found)
{
    if (outside())
        return libc.getservbyport_r(port, protocol, entry, room, size, found);
    return look_up_entry(service_by(libc.getservbyport_r, port, protocol), entry, room, size, found, nullptr);
}

// ---- what returns no entry ------------------------------------------------------------------------------------------

namespace {

struct groups_lookup {
    std::string user;
    gid_t primary;
    std::vector<gid_t> groups;
    int count;
    int result = 0;

    void operator()() { result = libc.getgrouplist(user.c_str(), primary, groups.data(), &count); }
};

struct netgroup_lookup {
    std::string netgroup;
    optional_string host;
    optional_string user;
    optional_string domain;
    int result = 0;

    void operator()() { result = libc.innetgr(netgroup.c_str(), host.get(), user.get(), domain.get()); }
};

} // namespace

COIR_INTERPOSE int getgrouplist(const char* user, gid_t primary, gid_t* groups, int* count)
{
    if (outside())
        return libc.getgrouplist(user, primary, groups, count);
    try {
        wake_cause cause;
        const auto room = static_cast<size_t>(std::max(*count, 0));
        auto done = abandonable<groups_lookup>::run_on_helper({user, primary, std::vector<gid_t>(room), *count}, cause);
        if (!done) {
            errno = errno_of(cause);
            return -1;
        }
        std::copy_n(done->groups.begin(), std::min(room, static_cast<size_t>(std::max(done->count, 0))), groups);
        *count = done->count;
        return done->result;
    } catch (...) {
        return libc.getgrouplist(user, primary, groups, count);
    }
}

COIR_INTERPOSE int innetgr(const char* netgroup, const char* host, const char* user, const char* domain)
{
    if (outside())
        return libc.innetgr(netgroup, host, user, domain);
    try {
        wake_cause cause;
        auto done = abandonable<netgroup_lookup>::run_on_helper(
            {netgroup, optional_string{host}, optional_string{user}, optional_string{domain}}, cause);
        return done ? done->result : 0;
    } catch (...) {
        return libc.innetgr(netgroup, host, user, domain);
    }
}

/// Sets the groups of the process, so it is not to be abandoned.
COIR_INTERPOSE int initgroups(const char* user, gid_t primary)
{
    return outside() ? libc.initgroups(user, primary) : on_helper([&] { return libc.initgroups(user, primary); });
}

} // namespace coir
