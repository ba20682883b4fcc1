// SPDX-License-Identifier: BSL-1.0
// coir::patch::install: the patch for programs in which it came too late to be found by the dynamic linker. Each
// object calls others through slots that hold their functions' addresses. Those that hold libc's, for a function that
// we define, are given ours. Everything is decided by what a slot holds now, so looking again is harmless, and what
// somebody else has put there is left alone.
#include "interpose.hpp"
#include "late_dlopen.hpp"
#include "loaded_object.hpp"
#include "self_check.hpp"

#include <coir/patch.hpp>
#include <coir/patch_install.hpp>

#include <dlfcn.h>
#include <fnmatch.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace coir {

namespace {

using patch::install_options;
using patch::install_report;

struct function {
    std::uintptr_t ours;
    bool everywhere;      ///< in excluded libraries too
    std::uintptr_t usual; ///< what the dynamic linker takes when a library asks for it
};
using function_table = std::unordered_map<std::string_view, function>;

struct replaced_slot {
    std::uintptr_t before;
    std::uintptr_t ours;
    std::uintptr_t object;
    std::string path; ///< of the object, which may have been unloaded since
    bool relro;
};

/// Where code lies, and whose it is.
struct code_range {
    enum class owner { patch, libc, other };
    std::uintptr_t base;
    std::uintptr_t end;
    owner whose;
    std::string file;
};

/// libc in the wider sense, whose inner calls are its own; and sanitizers, whose interceptors go on to it.
bool is_libc(std::string_view file) noexcept
{
    constexpr std::string_view names[] = {"libc.so",   "libpthread.so", "librt.so",   "libdl.so",   "libresolv.so",
                                          "libanl.so", "ld-linux",      "linux-vdso", "libasan.so", "libtsan.so",
                                          "libubsan.", "liblsan.so",    "libclang_rt"};
    return std::ranges::any_of(names, [&](std::string_view name) { return file.starts_with(name); });
}

/// Used by one library on what another waits for: locks, and what closes descriptors.
bool is_shared_business(std::string_view name) noexcept
{
    constexpr std::string_view beginnings[] = {"pthread_", "sem_", "mtx_", "cnd_", "thrd_join", "call_once"};
    constexpr std::string_view names[] = {"syscall", "close",      "dup2",      "dup3",     "close_range",  "closefrom",
                                          "fclose",  "pclose",     "vfork",     "closedir", "freopen",      "freopen64",
                                          "dlopen",  "setsockopt", "sigaction", "signal",   "siginterrupt", "ioctl"};
    return std::ranges::any_of(beginnings, [&](std::string_view each) { return name.starts_with(each); }) ||
           std::ranges::find(names, name) != std::end(names);
}

bool matches(const std::vector<std::string>& patterns, std::string_view file)
{
    const std::string name{file};
    return std::ranges::any_of(
        patterns, [&](const std::string& pattern) { return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

void store(std::uintptr_t* slot, std::uintptr_t value) noexcept
{
    std::atomic_ref{*slot}.store(value, std::memory_order_release); // others are calling through it
}

std::uintptr_t load(std::uintptr_t* slot) noexcept
{
    return std::atomic_ref{*slot}.load(std::memory_order_acquire);
}

/// The memory that may be read only, as addresses of beginning and end.
std::map<std::uintptr_t, std::uintptr_t> read_only_memory()
{
    std::map<std::uintptr_t, std::uintptr_t> result;
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t start = 0;
        std::uintptr_t end = 0;
        std::array<char, 5> access{};
        if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, access.data()) == 3 &&
            std::string_view{access.data()} == "r--p")
            result.emplace(start, end);
    }
    return result;
}

/// While it lives, the part of an object that is read-only after relocation is not. It stays readable throughout.
class opened_relro {
public:
    explicit opened_relro(const loaded_object& object) noexcept : object_{object} {}
    ~opened_relro()
    {
        if (open_)
            protect(PROT_READ);
    }
    opened_relro(const opened_relro&) = delete;
    opened_relro& operator=(const opened_relro&) = delete;

    /// False, with errno, if it cannot be opened.
    bool open() noexcept { return open_ || (open_ = protect(PROT_READ | PROT_WRITE)); }

private:
    bool protect(int how) const noexcept
    {
        return ::mprotect(reinterpret_cast<void*>(object_.relro()), object_.relro_size(), how) == 0;
    }

    const loaded_object& object_;
    bool open_ = false;
};

void* late_dlopen(const char* file, int mode);

class replacement {
public:
    install_report install(const install_options& options);
    void uninstall();
    void look_again();

private:
    void find_code();
    bool is_ready(const loaded_object& object) const noexcept;
    const code_range* range_of(std::uintptr_t address) const noexcept;
    std::size_t replace_all(std::vector<patch::missed_call>* missed);
    std::size_t replace_in(const loaded_object& object, std::vector<patch::missed_call>* missed);
    std::string replace(const loaded_object& object, const loaded_object::slot& slot, const function& function,
                        opened_relro& relro);

    std::mutex guard_; ///< for all below
    bool installed_ = false;
    install_options options_;
    const function_table* functions_ = nullptr;
    std::vector<code_range> code_;
    std::map<std::uintptr_t, std::uintptr_t> read_only_;
    std::map<std::uintptr_t*, replaced_slot> replaced_;
};

constinit std::atomic<bool> in_force{false};

replacement& the_replacement()
{
    static auto& made = *new replacement; // calls lead here until the very end
    return made;
}

function_table find_functions()
{
    const auto self = reinterpret_cast<std::uintptr_t>(&the_replacement);
    function_table result;
    loaded_object::for_each([&](const loaded_object& object) {
        if (object.contains(self))
            object.for_each_function([&](std::string_view name, std::uintptr_t address) {
                if (!name.starts_with("_Z") && name != "_init" && name != "_fini")
                    result.emplace(name, function{address, is_shared_business(name), 0});
            });
    });
    result.emplace("dlopen", function{reinterpret_cast<std::uintptr_t>(&late_dlopen), true, 0});
    for (auto& [name, function] : result)
        function.usual = reinterpret_cast<std::uintptr_t>(::dlsym(RTLD_DEFAULT, name.data()));
    return result;
}

install_report replacement::install(const install_options& options)
{
    static const auto functions = find_functions(); // outside of the lock: it needs the dynamic linker's
    const std::scoped_lock lock{guard_};
    functions_ = &functions;
    options_ = options;
    installed_ = true;
    install_report report;
    // Another thread may be in the middle of its first call through a slot, and then store the genuine address after
    // us. The second look finds that.
    for (int round = 0; round < 3; ++round) {
        report.missed.clear();
        const auto count = replace_all(&report.missed);
        report.replaced += count;
        if (count == 0)
            break;
    }
    in_force.store(true, std::memory_order_release);
    return report;
}

void replacement::look_again()
{
    const std::scoped_lock lock{guard_};
    if (installed_)
        replace_all(nullptr);
}

void replacement::uninstall()
{
    const std::scoped_lock lock{guard_};
    installed_ = false;
    in_force.store(false, std::memory_order_release);
    loaded_object::for_each([this](const loaded_object& object) {
        opened_relro relro{object};
        for (auto& [slot, was] : replaced_)
            if (was.object == object.base() && was.path == object.path() && load(slot) == was.ours &&
                (!was.relro || relro.open()))
                store(slot, was.before);
    });
    replaced_.clear();
}

void replacement::find_code()
{
    const auto self = reinterpret_cast<std::uintptr_t>(&the_replacement);
    code_.clear();
    loaded_object::for_each([&](const loaded_object& object) {
        using owner = code_range::owner;
        const auto whose = object.contains(self) ? owner::patch : is_libc(object.file()) ? owner::libc : owner::other;
        code_.push_back({object.base(), object.end(), whose, std::string{object.file()}});
    });
}

/// Another thread may be loading it. Then the dynamic linker is going to write there, and we must not protect it.
bool replacement::is_ready(const loaded_object& object) const noexcept
{
    const auto after = read_only_.upper_bound(object.relro());
    return after != read_only_.begin() && std::prev(after)->second >= object.relro() + object.relro_size();
}

const code_range* replacement::range_of(std::uintptr_t address) const noexcept
{
    const auto found =
        std::ranges::find_if(code_, [=](const code_range& each) { return address >= each.base && address < each.end; });
    return found == code_.end() ? nullptr : &*found;
}

std::size_t replacement::replace_all(std::vector<patch::missed_call>* missed)
{
    find_code();
    read_only_ = read_only_memory();
    std::size_t count = 0;
    loaded_object::for_each([&](const loaded_object& object) { count += replace_in(object, missed); });
    return count;
}

std::size_t replacement::replace_in(const loaded_object& object, std::vector<patch::missed_call>* missed)
{
    if (is_libc(object.file()))
        return 0;
    // Our own calls from one patched function to another are the same that they are when we come before libc.
    const bool is_self = object.contains(reinterpret_cast<std::uintptr_t>(&the_replacement));
    const bool wanted =
        is_self || (matches(options_.include, object.file()) && !matches(options_.exclude, object.file()));
    std::size_t count = 0;
    opened_relro relro{object};
    object.for_each_slot([&](const loaded_object::slot& slot) {
        const auto found = functions_->find(slot.symbol);
        if (found == functions_->end() || !(wanted || found->second.everywhere) || (is_self && slot.symbol == "dlopen"))
            return;
        const auto value = load(slot.address);
        const auto why = replace(object, slot, found->second, relro);
        count += why.empty() && value != found->second.ours && load(slot.address) == found->second.ours;
        if (!why.empty() && missed)
            missed->push_back({std::string{slot.symbol}, std::string{object.file()}, why});
    });
    return count;
}

/// Returns why not, if so.
std::string replacement::replace(const loaded_object& object, const loaded_object::slot& slot, const function& function,
                                 opened_relro& relro)
{
    const auto value = load(slot.address);
    if (value == function.ours || value == 0) // 0: a weak symbol that nobody defines
        return {};
    replaced_.erase(slot.address); // of an object that was unloaded, if there is one
    const bool unresolved = slot.may_be_unresolved && !slot.defined_here && object.contains(value);
    const auto* range = range_of(unresolved ? function.usual : value);
    if (range && range->whose == code_range::owner::patch)
        return {}; // in our own object: the dynamic linker has found us
    if (!range || range->whose != code_range::owner::libc)
        return "it calls that of " + (range ? range->file : std::string{"no library"});
    const bool is_relro = object.is_relro(reinterpret_cast<std::uintptr_t>(slot.address));
    if (is_relro && !is_ready(object))
        return "it is being loaded";
    if (is_relro ? !relro.open() : !object.is_writable(reinterpret_cast<std::uintptr_t>(slot.address)))
        return std::string{"its address is read-only"} + (is_relro ? std::string{": "} + std::strerror(errno) : "");
    replaced_.emplace(slot.address, replaced_slot{.before = value,
                                                  .ours = function.ours,
                                                  .object = object.base(),
                                                  .path = std::string{object.path()},
                                                  .relro = is_relro});
    store(slot.address, function.ours);
    return {};
}

void* late_dlopen(const char* file, int mode)
{
    void* handle = dlopen_for(__builtin_return_address(0), file, mode);
    if (!handle)
        return handle;
    const int error = errno;
    try {
        the_replacement().look_again();
    } catch (const std::exception&) { // no memory: what was loaded stays as it is, until the next look
    }
    errno = error;
    return handle;
}

constexpr patch::install_entries entries{
    .install = [](const install_options& options) { return the_replacement().install(options); },
    .uninstall = [] { the_replacement().uninstall(); },
};

} // namespace

bool loaded_by_install() noexcept
{
    return patch::library_loaded(entries);
}

bool is_installed() noexcept
{
    return in_force.load(std::memory_order_acquire);
}

} // namespace coir
