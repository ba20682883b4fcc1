// SPDX-License-Identifier: BSL-1.0
#pragma once
// What the dynamic linker has loaded, as far as calls from one object to another go. Valid inside of the visit only:
// that holds the lock without which nothing is unloaded. A visitor must not call what takes the dynamic linker's other
// lock: dladdr, dlsym, dlopen.
#include <elf.h>
#include <link.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace coir {

class loaded_object {
public:
    loaded_object(const dl_phdr_info& info, bool is_program) noexcept;

    std::uintptr_t base() const noexcept { return info_.dlpi_addr; }
    std::uintptr_t end() const noexcept;
    std::string_view path() const noexcept { return path_; }
    std::string_view file() const noexcept { return path_.substr(path_.rfind('/') + 1); }
    bool contains(std::uintptr_t address) const noexcept { return in_segment(address, 0); }
    bool is_relro(std::uintptr_t address) const noexcept { return address >= relro_ && address < relro_end_; }
    bool is_writable(std::uintptr_t address) const noexcept { return in_segment(address, PF_W); }
    std::uintptr_t relro() const noexcept { return relro_; }
    std::size_t relro_size() const noexcept { return relro_end_ - relro_; }

    /// A place that holds the address of a function: of a call, or a pointer that was initialised with it.
    struct slot {
        std::uintptr_t* address;
        std::string_view symbol;
        bool may_be_unresolved; ///< until the first call it leads to the dynamic linker
        bool defined_here;
    };
    template <class Visit> void for_each_slot(Visit visit) const
    {
        for (const auto& table : std::initializer_list<table_of_relocations>{calls_, data_})
            for (std::size_t i = 0; i < table.count; ++i)
                if (const auto found = slot_of(table.first[i]); found.address)
                    visit(found);
    }
    /// Functions that it defines for others.
    template <class Visit> void for_each_function(Visit visit) const
    {
        for (std::size_t i = 1; i < symbol_count_; ++i) {
            const auto& symbol = symbols_[i];
            if (symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
                ELF64_ST_BIND(symbol.st_info) != STB_LOCAL)
                visit(std::string_view{strings_ + symbol.st_name}, base() + symbol.st_value);
        }
    }

    /// Visits every object, the program first.
    template <class Visit> static void for_each(Visit visit)
    {
        struct state {
            Visit& visit;
            bool first = true;
        } visiting{visit};
        ::dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* data) {
                auto& at = *static_cast<state*>(data);
                at.visit(loaded_object{*info, at.first});
                at.first = false;
                return 0;
            },
            &visiting);
    }

private:
    struct table_of_relocations {
        const Elf64_Rela* first = nullptr;
        std::size_t count = 0;
    };

    slot slot_of(const Elf64_Rela& relocation) const noexcept;
    bool in_segment(std::uintptr_t address, unsigned flags) const noexcept;
    void read_dynamic(const Elf64_Dyn* entry) noexcept;
    void count_symbols(const std::uint32_t* hash) noexcept;

    dl_phdr_info info_;
    std::string_view path_;
    std::uintptr_t relro_ = 0;
    std::uintptr_t relro_end_ = 0;
    const Elf64_Sym* symbols_ = nullptr;
    const char* strings_ = nullptr;
    std::size_t symbol_count_ = 0;
    table_of_relocations calls_;
    table_of_relocations data_;
};

} // namespace coir
