"""gdb: the coroutines of a tornadod worker, live or in a core.

    (gdb) tornado coroutines          those that wait, with what they do and where they are
    (gdb) tornado coroutines full     the same with their local variables

Installed beside libtornado.so.1 it is loaded by itself; else: source lib/io/tornado-gdb.py
"""

import gdb
import gdb.unwinder

FRAMES_MAX = 64

# What td_switch (switch.S) has saved at a point: registers at their offsets, and the frame's size.
SAVED = {
    "i386:x86-64": ("rip", "rsp", 64, {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40,
                                       "rbp": 48, "rip": 56}),
    "aarch64": ("pc", "sp", 176, {"x29": 0, "pc": 8,
                                  **{f"x{19 + i}": 16 + 8 * i for i in range(10)}}),
}


def list_items(head, container, member):
    """The structs of type `container` whose td_list `member` is linked in `head`."""
    kind = gdb.lookup_type(container)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    link = head["next"]
    while link != head.address:
        yield (link.cast(gdb.lookup_type("char").pointer()) - offset).cast(kind.pointer())
        link = link["next"]


def schedulers():
    scheduler = gdb.lookup_static_symbol("schedulers").value()
    while scheduler != 0:
        yield scheduler.dereference()
        scheduler = scheduler["next"]


def waiting():
    for scheduler in schedulers():
        yield from list_items(scheduler["waiting"], "struct td_coroutine", "link")


def text(value):
    return value.string() if value != 0 else None


def label(co):
    task = co["task"]
    activity = task["activity"]
    module = text(task["module"]) or "-"
    return (f"{module} instance {int(activity['instance'])} route {int(activity['route'])}"
            f" request {int(activity['request_no'])}")


class Detour(gdb.unwinder.Unwinder):
    """Makes a point the caller of the innermost frame; that works in a core too, where registers
    cannot be set."""

    class FrameId:
        def __init__(self, sp, pc):
            self.sp, self.pc = sp, pc

    def __init__(self):
        super().__init__("tornado coroutine")
        self.enabled = False
        self.point = self.innermost = None

    def frames(self, point):
        architecture = gdb.newest_frame().architecture().name()
        if architecture not in SAVED:
            print(f"  (saved registers of {architecture} are not known)")
            return
        self.pc_name, self.sp_name, self.size, self.saved = SAVED[architecture]
        self.point, self.innermost = point, None
        self.enabled = True
        gdb.invalidate_cached_frames()
        try:
            frame = gdb.newest_frame().older()
            while frame is not None and frame.name() != "td_switch_enter":
                yield frame
                frame = frame.older()
        finally:
            self.enabled = False
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        sp = pending.read_register(self.sp_name)
        if self.innermost is None:
            self.innermost = int(sp)
        if int(sp) != self.innermost:
            return None
        pc = pending.read_register(self.pc_name)
        # As if it lay below everything: gdb stops where a caller's frame is below the callee's.
        info = pending.create_unwind_info(self.FrameId(gdb.Value(1).cast(sp.type), pc))
        word = gdb.lookup_type("unsigned long")
        for name, offset in self.saved.items():
            value = gdb.Value(self.point + offset).cast(word.pointer()).dereference()
            info.add_saved_register(name, value.cast(pending.read_register(name).type))
        info.add_saved_register(self.sp_name, gdb.Value(self.point + self.size).cast(sp.type))
        return info


def describe(number, frame):
    where = frame.find_sal()
    place = f" at {where.symtab.filename}:{where.line}" if where.symtab else ""
    return f"  #{number:<2} {frame.pc():#x} in {frame.name() or '??'}{place}"


def print_locals(frame):
    try:
        block = frame.block()
    except RuntimeError:
        return  # no debugging information
    for symbol in block:
        if symbol.is_variable or symbol.is_argument:
            print(f"        {symbol.print_name} = {symbol.value(frame)}")


class Tornado(gdb.Command):
    """What a tornadod worker does."""

    def __init__(self):
        super().__init__("tornado", gdb.COMMAND_STATUS, prefix=True)


class TornadoCoroutines(gdb.Command):
    """The coroutines that wait, with their backtraces; "full" adds their local variables."""

    def __init__(self):
        super().__init__("tornado coroutines", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        count = 0
        for co in waiting():
            count += 1
            print(f"coroutine {int(co):#x}: {label(co)}")
            self.print_frames(co, argument.strip() == "full")
        print(f"{count} coroutines wait")

    @staticmethod
    def print_frames(co, full):
        for number, frame in enumerate(detour.frames(int(co["point"]))):
            if number == FRAMES_MAX:
                print("  ...")
                break
            print(describe(number, frame))
            if full:
                print_locals(frame)


detour = Detour()
gdb.unwinder.register_unwinder(None, detour, replace=True)
Tornado()
TornadoCoroutines()
