import type { deviceApprove, deviceList, deviceRegister } from "../protocol/api/device.ts";
import type { ParamsOf, ResultOf } from "../protocol/methods.ts";
import type { CredentialChange, Principal } from "./principal.ts";

export type DeviceGrant = ParamsOf<typeof deviceRegister>;
export type PairingGrant = ParamsOf<typeof deviceApprove>;
export type DeviceView = ResultOf<typeof deviceList>["devices"][number];
export type PairingView = ResultOf<typeof deviceList>["pairing_requests"][number];

/** The devices that were admitted, and those that ask to be. */
export interface Devices {
  /** Oldest first. */
  devices(): DeviceView[];
  /** Those that are open, oldest first. */
  pairingRequests(): PairingView[];
  /**
   * @throws GatewayError INVALID_REQUEST for a key that is none, FORBIDDEN for another user or scopes `by` lacks,
   * CONFLICT {kind:"exists"|"full"}
   */
  registerDevice(by: Principal, grant: DeviceGrant): CredentialChange<DeviceView>;
  /** @throws GatewayError as above, NOT_FOUND for a code that is none, RATE_LIMITED {kind:"pairing"} after many of those */
  approveDevice(by: Principal, grant: PairingGrant): CredentialChange<DeviceView>;
  /** The device_id. @throws GatewayError NOT_FOUND, RATE_LIMITED {kind:"pairing"} */
  rejectDevice(by: Principal, code: string): string;
  /** Null: no such device. @throws GatewayError CONFLICT {kind:"busy"} */
  revokeDevice(device_id: string): CredentialChange<void> | null;
  /** @throws GatewayError NOT_FOUND, CONFLICT {kind:"busy"} */
  renameDevice(device_id: string, name: string): CredentialChange<DeviceView>;
}
