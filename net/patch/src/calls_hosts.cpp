// SPDX-License-Identifier: BSL-1.0
// gethostbyname and gethostbyaddr, in all their forms.
#include "entry_lookup.hpp"
#include "interpose.hpp"
#include "libc.hpp"

namespace coir {

namespace {

auto by_name(const char* name)
{
    return [owned = std::string{name}](hostent* entry, char* room, size_t size, hostent** found, int* error) {
        return libc.gethostbyname_r(owned.c_str(), entry, room, size, found, error);
    };
}

auto by_name_and_family(const char* name, int family)
{
    return [owned = std::string{name}, family](hostent* entry, char* room, size_t size, hostent** found, int* error) {
        return libc.gethostbyname2_r(owned.c_str(), family, entry, room, size, found, error);
    };
}

auto by_address(const void* address, socklen_t address_size, int family)
{
    return [owned = std::string(static_cast<const char*>(address), address_size),
            family](hostent* entry, char* room, size_t size, hostent** found, int* error) {
        return libc.gethostbyaddr_r(owned.data(), static_cast<socklen_t>(owned.size()), family, entry, room, size,
                                    found, error);
    };
}

} // namespace

COIR_INTERPOSE hostent* gethostbyname(const char* name)
{
    return outside() || !name ? libc.gethostbyname(name) : look_up_static_entry<hostent>(by_name(name), true);
}

COIR_INTERPOSE int gethostbyname_r(const char* name, hostent* entry, char* room, size_t size, hostent** found,
                                   int* error)
{
    if (outside() || !name)
        return libc.gethostbyname_r(name, entry, room, size, found, error);
    return look_up_entry(by_name(name), entry, room, size, found, error);
}

COIR_INTERPOSE hostent* gethostbyname2(const char* name, int family)
{
    if (outside() || !name)
        return libc.gethostbyname2(name, family);
    return look_up_static_entry<hostent>(by_name_and_family(name, family), true);
}

COIR_INTERPOSE int gethostbyname2_r(const char* name, int family, hostent* entry, char* room, size_t size,
                                    hostent** found, int* error)
{
    if (outside() || !name)
        return libc.gethostbyname2_r(name, family, entry, room, size, found, error);
    return look_up_entry(by_name_and_family(name, family), entry, room, size, found, error);
}

COIR_INTERPOSE hostent* gethostbyaddr(const void* address, socklen_t address_size, int family)
{
    if (outside() || !address)
        return libc.gethostbyaddr(address, address_size, family);
    return look_up_static_entry<hostent>(by_address(address, address_size, family), true);
}

COIR_INTERPOSE int gethostbyaddr_r(const void* address, socklen_t address_size, int family, hostent* entry, char* room,
                                   size_t size, hostent** found, int* error)
{
    if (outside() || !address)
        return libc.gethostbyaddr_r(address, address_size, family, entry, room, size, found, error);
    return look_up_entry(by_address(address, address_size, family), entry, room, size, found, error);
}

} // namespace coir
