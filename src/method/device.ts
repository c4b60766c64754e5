import type { Devices } from "../core/devices.ts";
import {
  deviceApprove,
  deviceList,
  deviceRegister,
  deviceReject,
  deviceRename,
  deviceRevoke,
} from "../protocol/api/device.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { SettleDeps } from "./token.ts";
import { notThere, settle } from "./token.ts";

export interface DeviceDeps extends SettleDeps {
  readonly devices: Devices;
}

/** Devices, and the requests of those that are not admitted yet. */
export function deviceMethods(deps: DeviceDeps): MethodHandler[] {
  const { devices } = deps;
  return [
    handle(deviceRegister, (grant, call) => {
      return settle(deps, call, devices.registerDevice(call.caller.principal, grant), (device) => device);
    }),
    handle(deviceList, () => ({
      devices: devices.devices(),
      pairing_requests: devices.pairingRequests(),
    })),
    handle(deviceApprove, (grant, call) => {
      return settle(deps, call, devices.approveDevice(call.caller.principal, grant), (device) => device);
    }),
    handle(deviceReject, ({ code }, call) => {
      call.audited?.concerns(devices.rejectDevice(call.caller.principal, code));
      return { rejected: true };
    }),
    handle(deviceRevoke, ({ device_id }, call) => {
      const change = devices.revokeDevice(device_id);
      if (change === null) return notThere(call);
      return settle(deps, call, change, () => ({ revoked: true }));
    }),
    handle(deviceRename, ({ device_id, name }, call) => {
      return settle(deps, call, devices.renameDevice(device_id, name), (device) => device);
    }),
  ];
}
