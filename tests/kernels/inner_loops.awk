# From a disassembly (objdump or llvm-objdump, -d --no-show-raw-insn): the innermost loops with multiply-adds of the tiles. A line
#   loop FUNCTION MULTIPLY-ADDS STACK-ACCESSES
# and then the loop's instructions, a tab before each, branch targets as "."
function flush_function(    i, j, inner, from, fmas, stack) {
    for (i = 1; i <= n; i++) {
        if (!(i in target) || !(target[i] in at) || at[target[i]] > i) continue
        from = at[target[i]]
        inner = 1
        for (j = from; j < i; j++)
            if ((j in target) && (target[j] in at) && at[target[j]] >= from && at[target[j]] <= j) inner = 0
        fmas = stack = 0
        for (j = from; j <= i; j++) {
            if (text[j] ~ /^(fmla|vfmadd)/) fmas++
            # The frame pointer is one more register where the function has no frame.
            if (text[j] ~ /\[sp|\(%rsp/ || (framed && text[j] ~ /\[x29|\(%rbp/)) stack++
        }
        if (!inner || fmas == 0) continue
        print "loop", name, fmas, stack
        for (j = from; j <= i; j++) print "\t" text[j]
    }
    n = framed = 0
    delete at
    delete target
}
/^[0-9a-f]+ <.*>:/ {
    flush_function()
    name = $2
    gsub(/[<>:]/, "", name)
    wanted = name ~ /^(conv_(forward|grad)_(scattered_)?f32|winograd_(product|sum))_[0-9]+x[0-9]+_/
    next
}
wanted && /^ *[0-9a-f]+: *\t/ {
    split($0, part, "\t")
    address = part[1]
    gsub(/[ :]/, "", address)
    at[address] = ++n
    instruction = part[2]
    for (i = 3; i in part; i++) instruction = instruction " " part[i]
    sub(/ *\/\/.*/, "", instruction)
    if (instruction ~ /^(b\.|b |cbn?z|tbn?z|j)/ && match(instruction, /[0-9a-f]+ <.*/)) {
        target[n] = substr(instruction, RSTART, RLENGTH)
        sub(/ <.*/, "", target[n])
        sub(/(0x)?[0-9a-f]+ <.*/, ".", instruction)
    }
    if (instruction ~ /^movq? +(%rsp, ?%rbp|x29, sp)/) framed = 1
    text[n] = instruction
}
END { flush_function() }
