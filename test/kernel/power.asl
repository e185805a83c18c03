// Power of a small gateway for the guest of test/kernel: a battery that is being emptied, mains that are off, a power
// meter at the input and a thermal zone. The figures are the truth that vitals.kernel.ts holds the agent's answers to.
DefinitionBlock ("power.aml", "SSDT", 2, "SLUICE", "VITALS", 0x00000001)
{
    Scope (\_SB)
    {
        Device (ADP0)
        {
            Name (_HID, "ACPI0003")
            Name (_PCL, Package () { \_SB })
            Method (_PSR, 0) { Return (Zero) }
            Method (_STA, 0) { Return (0x0F) }
        }
        Device (BAT0)
        {
            Name (_HID, EisaId ("PNP0C0A"))
            Name (_UID, One)
            Name (_PCL, Package () { \_SB })
            Method (_STA, 0) { Return (0x1F) }
            // Power unit mW; design 50 Wh, full 41.25 Wh, rechargeable, 12 V.
            Method (_BIF, 0)
            {
                Return (Package () { Zero, 50000, 41250, One, 12000, 4000, 2000, 100, 100, "PACK", "1", "LION", "SLUICE" })
            }
            // Discharging at 7.1 W, 33 Wh left, 11.8 V.
            Method (_BST, 0) { Return (Package () { One, 7100, 33000, 11800 }) }
        }
        Device (PMT0)
        {
            Name (_HID, "ACPI000D")
            Name (_UID, One)
            Method (_STA, 0) { Return (0x0F) }
            // Measures; mW; input; 1 %; sampled and averaged over a second.
            Method (_PMC, 0)
            {
                Return (Package () { One, Zero, Zero, 99000, 1000, 1000, 1000, 0xFFFFFFFF, Zero, Zero, Zero, "METER", "1", "SLUICE" })
            }
            Method (_PMM, 0) { Return (42500) }
            Method (_GAI, 0) { Return (1000) }
            Method (_PAI, 1) { Return (Zero) }
            Name (_PMD, Package () { \_SB })
        }
    }
    Scope (\_TZ)
    {
        ThermalZone (TZ0)
        {
            // Tenths of a kelvin: 60.0 degrees Celsius.
            Method (_TMP, 0) { Return (3332) }
            Method (_CRT, 0) { Return (3932) }
            Name (_TZP, 50)
        }
    }
}
