// SPDX-License-Identifier: BSL-1.0
#include "loaded_object.hpp"

#include <algorithm>
#include <array>
#include <unistd.h>

namespace coir {

namespace {

#if defined(__x86_64__)
constexpr unsigned call_slot = R_X86_64_JUMP_SLOT;
constexpr unsigned address_slot = R_X86_64_GLOB_DAT;
constexpr unsigned pointer = R_X86_64_64;
#elif defined(__aarch64__)
constexpr unsigned call_slot = R_AARCH64_JUMP_SLOT;
constexpr unsigned address_slot = R_AARCH64_GLOB_DAT;
constexpr unsigned pointer = R_AARCH64_ABS64;
#else
#error "coir: this processor is not supported yet"
#endif

std::string_view program_path() noexcept
{
    static const auto path = [] {
        std::array<char, 4096> text{};
        const auto size = ::readlink("/proc/self/exe", text.data(), text.size() - 1);
        return size > 0 ? text : std::array<char, 4096>{"program"};
    }();
    return path.data();
}

} // namespace

loaded_object::loaded_object(const dl_phdr_info& info, bool is_program) noexcept
    : info_{info},
      path_{is_program       ? program_path()
            : info.dlpi_name ? info.dlpi_name
                             : ""}
{
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const Elf64_Dyn* dynamic = nullptr;
    for (std::size_t i = 0; i < info.dlpi_phnum; ++i) {
        const auto& segment = info.dlpi_phdr[i];
        const auto start = info.dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_DYNAMIC) {
            dynamic = reinterpret_cast<const Elf64_Dyn*>(start);
        } else if (segment.p_type == PT_GNU_RELRO) { // as the dynamic linker rounds it
            relro_ = start & ~(page - 1);
            relro_end_ = std::max(relro_, (start + segment.p_memsz) & ~(page - 1));
        }
    }
    if (dynamic && !path_.starts_with("linux-vdso"))
        read_dynamic(dynamic);
}

void loaded_object::read_dynamic(const Elf64_Dyn* entry) noexcept
{
    // The dynamic linker has made addresses of these offsets, where it may write.
    const auto at = [this](Elf64_Addr value) { return value < base() ? value + base() : value; };
    const std::uint32_t* hash = nullptr;
    bool has_rela_calls = true;
    for (; entry->d_tag != DT_NULL; ++entry) {
        const auto value = entry->d_un.d_val;
        switch (entry->d_tag) {
        case DT_SYMTAB: symbols_ = reinterpret_cast<const Elf64_Sym*>(at(value)); break;
        case DT_STRTAB: strings_ = reinterpret_cast<const char*>(at(value)); break;
        case DT_JMPREL: calls_.first = reinterpret_cast<const Elf64_Rela*>(at(value)); break;
        case DT_PLTRELSZ: calls_.count = value / sizeof(Elf64_Rela); break;
        case DT_PLTREL: has_rela_calls = value == DT_RELA; break;
        case DT_RELA: data_.first = reinterpret_cast<const Elf64_Rela*>(at(value)); break;
        case DT_RELASZ: data_.count = value / sizeof(Elf64_Rela); break;
        case DT_GNU_HASH: hash = reinterpret_cast<const std::uint32_t*>(at(value)); break;
        default: break;
        }
    }
    if (!symbols_ || !strings_ || !calls_.first || !has_rela_calls)
        calls_ = {};
    if (!symbols_ || !strings_ || !data_.first)
        data_ = {};
    if (hash && symbols_ && strings_)
        count_symbols(hash);
}

/// Nothing but the hash table knows how many there are: one more than the last of its last chain.
void loaded_object::count_symbols(const std::uint32_t* hash) noexcept
{
    const std::uint32_t bucket_count = hash[0];
    const std::uint32_t first_hashed = hash[1];
    const std::uint32_t bloom_size = hash[2];
    const auto* buckets = hash + 4 + bloom_size * (sizeof(std::size_t) / sizeof *hash);
    const auto* chains = buckets + bucket_count;
    std::uint32_t last = 0;
    for (std::uint32_t i = 0; i < bucket_count; ++i)
        last = std::max(last, buckets[i]);
    if (last < first_hashed)
        return;
    while (!(chains[last - first_hashed] & 1U))
        ++last;
    symbol_count_ = last + 1;
}

loaded_object::slot loaded_object::slot_of(const Elf64_Rela& relocation) const noexcept
{
    const auto type = ELF64_R_TYPE(relocation.r_info);
    const auto index = ELF64_R_SYM(relocation.r_info);
    if (index == 0 || (type != call_slot && type != address_slot && type != pointer) || relocation.r_addend != 0)
        return {};
    const auto& symbol = symbols_[index];
    return {.address = reinterpret_cast<std::uintptr_t*>(base() + relocation.r_offset),
            .symbol = strings_ + symbol.st_name,
            .may_be_unresolved = type == call_slot,
            .defined_here = symbol.st_shndx != SHN_UNDEF};
}

std::uintptr_t loaded_object::end() const noexcept
{
    std::uintptr_t result = base();
    for (std::size_t i = 0; i < info_.dlpi_phnum; ++i)
        if (const auto& segment = info_.dlpi_phdr[i]; segment.p_type == PT_LOAD)
            result = std::max(result, base() + segment.p_vaddr + segment.p_memsz);
    return result;
}

bool loaded_object::in_segment(std::uintptr_t address, unsigned flags) const noexcept
{
    for (std::size_t i = 0; i < info_.dlpi_phnum; ++i) {
        const auto& segment = info_.dlpi_phdr[i];
        const auto start = base() + segment.p_vaddr;
        if (segment.p_type == PT_LOAD && (segment.p_flags & flags) == flags && address >= start &&
            address < start + segment.p_memsz)
            return true;
    }
    return false;
}

} // namespace coir
